//! The chain between a client and a service.

use cofide_core::{Finding, Severity};
use serde::Serialize;

use crate::printer::{Table, View};

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ExplanationView {
    /// Whether every link holds.
    pub works: bool,
    /// In the order in which they depend on each other.
    pub links: Vec<LinkView>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LinkView {
    pub check: String,
    /// `Ok`, `Waiting` or `Broken`.
    pub status: &'static str,
    pub message: String,
    pub remedy: Option<String>,
}

impl ExplanationView {
    pub fn new(findings: &[Finding]) -> Self {
        let link = |finding: &Finding| LinkView {
            check: finding.check.clone(),
            status: match finding.severity {
                Severity::Ok => "Ok",
                Severity::Waiting => "Waiting",
                Severity::Broken => "Broken",
            },
            message: finding.message.clone(),
            remedy: finding.remedy.clone(),
        };
        Self { works: findings.iter().all(|finding| finding.severity == Severity::Ok), links: findings.iter().map(link).collect() }
    }
}

impl View for ExplanationView {
    fn tables(&self) -> Vec<Table> {
        let row = |link: &LinkView| vec![link.check.clone(), link.status.to_owned(), link.message.clone()];
        vec![Table::new(["Link", "Status", "Reason"]).rows(self.links.iter().map(row))]
    }
}
