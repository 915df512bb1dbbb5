//! Whose tokens somebody handles: proof that they may.

use crate::access::{Actor, Caller, OrgPermit};
use crate::audit::Chain;
use crate::http::problem::{Code, Problem};
use crate::service_accounts::ServiceAccount;

/// Whose tokens they are. Can only be made for whoever may handle them.
#[derive(Debug)]
pub(crate) struct Holder<'a> {
    caller: &'a Caller,
    principal_id: &'a str,
    /// The organisation of a service account.
    org_id: Option<&'a str>,
}

impl<'a> Holder<'a> {
    /// The caller, about themself.
    ///
    /// # Errors
    /// 403 for whoever is no person.
    pub(crate) fn person(caller: &'a Caller) -> Result<Self, Problem> {
        match caller.actor() {
            Actor::User { id, .. } => Ok(Self { caller, principal_id: id, org_id: None }),
            _ => Err(sign_in_required()),
        }
    }

    /// The caller, who has signed in: a token makes no token, so that one that leaked cannot outlive its end.
    ///
    /// # Errors
    /// 403 for whoever comes with a token.
    pub(crate) fn signed_in(caller: &'a Caller) -> Result<Self, Problem> {
        match caller.actor() {
            Actor::User { id, session_id: Some(_), .. } => {
                Ok(Self { caller, principal_id: id, org_id: None })
            }
            _ => Err(sign_in_required()),
        }
    }

    /// A service account of the organisation.
    pub(crate) fn service_account(permit: &'a OrgPermit, account: &'a ServiceAccount) -> Self {
        Self { caller: permit.caller(), principal_id: &account.id, org_id: Some(permit.org_id()) }
    }

    /// Who handles them.
    pub(crate) fn caller(&self) -> &'a Caller {
        self.caller
    }

    /// Whose they are.
    pub(crate) fn principal_id(&self) -> &'a str {
        self.principal_id
    }

    /// Where the audit log has them.
    pub(crate) fn chain(&self) -> Chain<'a> {
        self.org_id.map_or(Chain::Installation, Chain::Org)
    }
}

fn sign_in_required() -> Problem {
    let detail = "this is for people who have signed in; a token of a program cannot do it";
    Problem::new(Code::SignInRequired, detail)
}
