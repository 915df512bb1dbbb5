//! The policies that come with MindWeave: complete, driven by data, and tested by the cases beside them.

/// A policy that comes with MindWeave. An admin takes its text and gives it data of their own.
#[derive(Clone, Copy, Debug)]
pub struct BundledPolicy {
    /// By what it is asked for: `model_allow_list`.
    pub name: &'static str,
    /// What people call it.
    pub title: &'static str,
    /// What it does, in a sentence.
    pub description: &'static str,
    /// The Rego v1 module.
    pub rego: &'static str,
    /// Data to start from: a JSON object.
    pub example_data: &'static str,
    /// Its cases, as [`crate::CaseFile`] reads them.
    pub cases: &'static str,
}

/// Every bundled policy, by name.
pub fn bundled() -> &'static [BundledPolicy] {
    &[]
}

/// The bundled policy of this name.
pub fn bundled_policy(name: &str) -> Option<&'static BundledPolicy> {
    bundled().iter().find(|policy| policy.name == name)
}
