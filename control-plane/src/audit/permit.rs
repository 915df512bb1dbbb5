//! Who may look at which chain.

use super::chain::{Chain, INSTALLATION};
use super::store;
use crate::access::{Access, Area, Caller, InstallationPermit, OrgPermit};
use crate::db::Connection;
use crate::http::problem::Problem;

/// To look at a chain. Only made from another permit.
#[derive(Clone, Debug)]
pub(super) enum ChainPermit {
    /// At that of an organisation.
    Org(OrgPermit),
    /// At any, also of an organisation that was deleted.
    Installation { permit: InstallationPermit, chain: String },
}

impl ChainPermit {
    /// Asks for the chain of an organisation, or `installation`.
    pub(super) async fn ask(tx: &mut Connection, caller: &Caller, chain: &str) -> Result<Self, Problem> {
        let need = Access::read(Area::Audit);
        if chain == INSTALLATION || (caller.is_installation_admin() && store::chain_exists(tx, chain).await?)
        {
            return Ok(Self::Installation { permit: caller.installation(need)?, chain: chain.to_owned() });
        }
        caller.org(tx, chain, need).await.map(Self::Org)
    }

    /// As it is stored.
    pub(super) fn chain(&self) -> &str {
        match self {
            Self::Org(permit) => permit.org_id(),
            Self::Installation { chain, .. } => chain,
        }
    }

    /// For an entry of its own in this chain.
    pub(super) fn as_chain(&self) -> Chain<'_> {
        match self.chain() {
            INSTALLATION => Chain::Installation,
            org_id => Chain::Org(org_id),
        }
    }

    /// Who was permitted.
    pub(super) fn caller(&self) -> &Caller {
        match self {
            Self::Org(permit) => permit.caller(),
            Self::Installation { permit, .. } => permit.caller(),
        }
    }
}
