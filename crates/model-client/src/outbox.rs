//! Reports that wait for a connection to the orchestrator.

use std::collections::VecDeque;

use domain::ModelId;
use protocol::cluster::{FailureReport, REPORT_FAILURE};
use serde_json::json;

use crate::desk::Complaint;

/// A queue of bounded length, with at most one report per model.
#[derive(Debug)]
pub(crate) struct Outbox {
    waiting: VecDeque<Complaint>,
    capacity: usize,
}

impl Outbox {
    pub fn new(capacity: usize) -> Self {
        Outbox { waiting: VecDeque::new(), capacity: capacity.max(1) }
    }

    /// Gives back what has to make room: the model's earlier report, or else the oldest one when the box is full.
    pub fn put(&mut self, complaint: Complaint) -> Option<Complaint> {
        let earlier = self.waiting.iter().position(|waiting| waiting.model_id == complaint.model_id);
        let dropped = match earlier {
            Some(place) => self.waiting.remove(place),
            None if self.waiting.len() == self.capacity => self.waiting.pop_front(),
            None => None,
        };
        self.waiting.push_back(complaint);
        dropped
    }

    /// Keeps the reports about these models only.
    pub fn retain(&mut self, is_wanted: impl Fn(&ModelId) -> bool) {
        self.waiting.retain(|waiting| is_wanted(&waiting.model_id));
    }

    /// All that waits, as one message; `None` when nothing does.
    pub fn message(&self) -> Option<String> {
        let reports: Vec<FailureReport> = self.waiting.iter().map(report).collect();
        (!reports.is_empty()).then(|| json!({ "event": REPORT_FAILURE, "data": reports }).to_string())
    }

    /// Takes everything out, once it was sent.
    pub fn sent(&mut self) -> impl Iterator<Item = ModelId> + use<> {
        std::mem::take(&mut self.waiting).into_iter().map(|complaint| complaint.model_id)
    }
}

fn report(complaint: &Complaint) -> FailureReport {
    FailureReport {
        model_id: complaint.model_id.to_string(),
        failure_code: complaint.code.to_string(),
        failure_reason: Some(complaint.reason.clone()),
        ip: complaint.host.clone(),
    }
}

#[cfg(test)]
mod tests {
    use domain::DeploymentId;

    use super::*;
    use crate::health::FailureCode;

    fn complaint(model: &str, reason: &str) -> Complaint {
        Complaint {
            model_id: ModelId::new(model).unwrap(),
            deployment_id: DeploymentId::new("d").unwrap(),
            address: "h:1".into(),
            host: "h".into(),
            code: FailureCode::MultipleFailed,
            reason: reason.into(),
        }
    }

    #[test]
    fn reports_go_out_in_one_message_in_the_words_of_the_protocol() {
        let mut outbox = Outbox::new(5);
        assert_eq!(outbox.message(), None);
        outbox.put(complaint("1", "raised"));
        let message: serde_json::Value = serde_json::from_str(&outbox.message().unwrap()).unwrap();
        let report = json!({"model_id": "1", "failure_code": "MULTIPLE_FAILED", "failure_reason": "raised", "ip": "h"});
        assert_eq!(message, json!({"event": "report_failure", "data": [report]}));
        assert_eq!(outbox.sent().count(), 1);
        assert_eq!(outbox.message(), None);
    }

    #[test]
    fn a_full_box_drops_the_oldest_and_a_model_has_one_report() {
        let mut outbox = Outbox::new(2);
        assert_eq!(outbox.put(complaint("1", "a")), None);
        assert_eq!(outbox.put(complaint("2", "b")), None);
        assert_eq!(outbox.put(complaint("1", "c")), Some(complaint("1", "a")));
        assert_eq!(outbox.put(complaint("3", "d")), Some(complaint("2", "b")));
        let left: Vec<String> = outbox.sent().map(|model| model.to_string()).collect();
        assert_eq!(left, ["1", "3"]);
    }

    #[test]
    fn what_is_no_longer_true_is_not_sent() {
        let mut outbox = Outbox::new(2);
        outbox.put(complaint("1", "a"));
        outbox.retain(|model| model.as_str() != "1");
        assert_eq!(outbox.message(), None);
    }
}
