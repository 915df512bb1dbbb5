//! Heads of rules that the engine accepts and gives another meaning.

use regorus::unstable::{Expr, Module, Ref, Rule, RuleHead, Span};

use super::PolicyFault;

/// What is wrong with the heads of all rules.
pub(super) fn faults(modules: &[Ref<Module>]) -> Vec<PolicyFault> {
    modules.iter().flat_map(|module| &module.policy).filter_map(|rule| fault(rule)).collect()
}

fn fault(rule: &Rule) -> Option<PolicyFault> {
    match rule {
        Rule::Default { span, args, .. } if !args.is_empty() => {
            let message = "`default` of a function is not supported: end its definition with `else := ..`";
            Some(at(span, message))
        }
        Rule::Default { .. } => None,
        Rule::Spec { head, .. } => {
            let (refr, last_may_vary) = match head {
                RuleHead::Compr { refr, .. } => (refr, true),
                RuleHead::Set { refr, .. } | RuleHead::Func { refr, .. } => (refr, false),
            };
            let named = match &**refr {
                Expr::RefBrack { refr, .. } if last_may_vary => refr,
                _ => refr,
            };
            let message = "a name in brackets that varies can only be the last part of a rule's name, and not of a set: \
                           collect values in an object of sets by a comprehension, or in a set of pairs";
            varying(named).map(|span| at(span, message))
        }
    }
}

/// The first part of a rule's name that is not a constant.
fn varying(refr: &Expr) -> Option<&Span> {
    match refr {
        Expr::RefBrack { refr, index, .. } => {
            let constant = matches!(**index, Expr::String { .. } | Expr::RawString { .. });
            varying(refr).or_else(|| (!constant).then(|| index.span()))
        }
        Expr::RefDot { refr, .. } => varying(refr),
        _ => None,
    }
}

fn at(span: &Span, message: &str) -> PolicyFault {
    PolicyFault::at(span.line, span.col, message)
}
