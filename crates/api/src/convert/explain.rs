//! `Finding` of `proto.connect.explain_service.v1alpha1`

use cofide_core::{Finding, Severity};

use super::{FieldError, also_owned, enumeration, optional_text};
use crate::connect::explain_service as proto;
use proto::finding::Severity as ProtoSeverity;

impl From<&Finding> for proto::Finding {
    fn from(finding: &Finding) -> Self {
        let severity = match finding.severity {
            Severity::Ok => ProtoSeverity::Ok,
            Severity::Waiting => ProtoSeverity::Waiting,
            Severity::Broken => ProtoSeverity::Broken,
        };
        Self {
            check: finding.check.clone(),
            severity: severity.into(),
            message: finding.message.clone(),
            remedy: finding.remedy.clone().unwrap_or_default(),
        }
    }
}

impl TryFrom<proto::Finding> for Finding {
    type Error = FieldError;
    fn try_from(message: proto::Finding) -> Result<Self, FieldError> {
        let severity = match enumeration("finding.severity", message.severity)? {
            Some(ProtoSeverity::Ok) => Severity::Ok,
            Some(ProtoSeverity::Waiting) => Severity::Waiting,
            Some(ProtoSeverity::Broken) => Severity::Broken,
            Some(ProtoSeverity::Unspecified) | None => return Err(FieldError::missing("finding.severity")),
        };
        let remedy = optional_text(Some(&message.remedy)).map(str::to_owned);
        Ok(Self { check: message.check, severity, message: message.message, remedy })
    }
}

also_owned!(Finding => proto::Finding);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_is_read_as_it_was_written() {
        for (severity, remedy) in [(Severity::Ok, None), (Severity::Waiting, Some("wait")), (Severity::Broken, Some("mend"))] {
            let finding = Finding { check: "export list".into(), severity, message: "as it is".into(), remedy: remedy.map(str::to_owned) };
            assert_eq!(Finding::try_from(proto::Finding::from(&finding)).unwrap(), finding);
        }
        let error = Finding::try_from(proto::Finding::default()).unwrap_err();
        assert_eq!(error.path, "finding.severity");
    }
}
