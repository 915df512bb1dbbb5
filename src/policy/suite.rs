//! Policies with their cases: the bundled ones, or those in an author's folder.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail};
use mindweave_policy::CaseFile;

use super::source;

/// What a file of cases is called: the policy's name and this.
const CASES_ENDING: &str = "_cases.toml";
/// What a policy's file ends with.
const POLICY_ENDING: &str = "rego";

/// A policy and its cases.
pub(super) struct Suite {
    /// What people call it.
    pub(super) name: String,
    /// Where the policy's text is.
    pub(super) policy: PathBuf,
    /// Where the cases are.
    pub(super) cases: PathBuf,
    /// The policy.
    pub(super) rego: Arc<str>,
    /// The cases; none were written for some policies.
    pub(super) file: Option<CaseFile>,
}

/// The bundled policies.
///
/// # Errors
/// When a bundled file of cases were broken.
pub(super) fn bundled() -> anyhow::Result<Vec<Suite>> {
    let suite = |policy: &mindweave_policy::BundledPolicy| {
        let cases = PathBuf::from(format!("bundled/{}{CASES_ENDING}", policy.name));
        let file = CaseFile::parse(policy.cases).with_context(|| cases.display().to_string())?;
        Ok(Suite {
            name: policy.name.to_owned(),
            policy: PathBuf::from(format!("bundled/{}.{POLICY_ENDING}", policy.name)),
            cases,
            rego: policy.rego.into(),
            file: Some(file),
        })
    };
    mindweave_policy::bundled().iter().map(suite).collect()
}

/// The policies and cases of a folder, or of one file.
///
/// # Errors
/// When there are none, or a file cannot be read or understood.
pub(super) fn at(path: &Path) -> anyhow::Result<Vec<Suite>> {
    let metadata = fs::metadata(path).with_context(|| format!("cannot read {}", path.display()))?;
    if metadata.is_dir() {
        return of_folder(path);
    }
    if has_cases_name(path) {
        return Ok(vec![of_cases(path)?]);
    }
    if is_policy(path) {
        return Ok(vec![of_policy(path)?]);
    }
    bail!("{} is neither a policy (*.{POLICY_ENDING}) nor a file of cases (*{CASES_ENDING})", path.display())
}

fn of_folder(folder: &Path) -> anyhow::Result<Vec<Suite>> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut files = entries.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>()?;
    files.sort();
    let cases = files.iter().filter(|file| has_cases_name(file));
    let mut suites = cases.map(|file| of_cases(file)).collect::<anyhow::Result<Vec<_>>>()?;
    let tested: BTreeSet<PathBuf> = suites.iter().map(|suite| same(&suite.policy)).collect();
    for policy in files.iter().filter(|file| is_policy(file) && !tested.contains(&same(file))) {
        suites.push(of_policy(policy)?);
    }
    if suites.is_empty() {
        bail!("{} holds neither policies (*.{POLICY_ENDING}) nor cases (*{CASES_ENDING})", folder.display());
    }
    Ok(suites)
}

/// A file of cases with the policy that it names, or else that has its name.
fn of_cases(cases: &Path) -> anyhow::Result<Suite> {
    let file = CaseFile::parse(&source::read(cases)?).with_context(|| cases.display().to_string())?;
    let folder = cases.parent().unwrap_or(Path::new(""));
    let policy = match file.policy() {
        Some(policy) => folder.join(policy),
        None => folder.join(format!("{}.{POLICY_ENDING}", name_of(cases))),
    };
    let rego = source::read(&policy).with_context(|| format!("the policy of {}", cases.display()))?;
    Ok(Suite {
        name: name_of(&policy),
        policy,
        cases: cases.to_path_buf(),
        rego: rego.into(),
        file: Some(file),
    })
}

/// A policy with the cases beside it, if there are any.
fn of_policy(policy: &Path) -> anyhow::Result<Suite> {
    let cases = policy.with_file_name(format!("{}{CASES_ENDING}", name_of(policy)));
    if cases.is_file() {
        return of_cases(&cases);
    }
    let rego = source::read(policy)?.into();
    Ok(Suite { name: name_of(policy), policy: policy.to_path_buf(), cases, rego, file: None })
}

/// The file's name without what says that it is a policy or a file of cases.
fn name_of(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let name = name.strip_suffix(CASES_ENDING).or_else(|| name.strip_suffix(".rego")).unwrap_or(&name);
    name.to_owned()
}

fn has_cases_name(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().ends_with(CASES_ENDING))
}

fn is_policy(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending == POLICY_ENDING)
}

/// One name for one file, however it was reached.
fn same(path: &Path) -> PathBuf {
    fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf())
}
