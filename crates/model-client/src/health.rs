//! What the outcomes of a model's calls say about it, taken together. No I/O; time is a parameter.
//!
//! Two runs are counted for each method by itself: failures and timeouts. Only a good answer to that method ends them, so
//! a good tick hides no bad `predict`, and a model that fails and times out by turns is found too. A call that was
//! skipped counts as nothing.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// The name under which a Setup is counted.
pub(crate) const SETUP: &str = "setup";

/// How much is borne from a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HealthLimits {
    /// So many failures of a method in a row are borne; the next one is reported.
    pub max_consecutive_failures: u32,
    /// So many timeouts of a method in a row are borne; the next one is reported.
    pub max_consecutive_timeouts: u32,
    /// So many attempts in a row to reach the node are made before it is reported as unreachable…
    pub max_connect_attempts: u32,
    /// … and they are spread over at least this time, so that a process that is being restarted is not reported.
    pub unreachable_for: Duration,
}

impl Default for HealthLimits {
    /// Ten failures, ten timeouts, and five attempts over half a minute.
    fn default() -> Self {
        HealthLimits {
            max_consecutive_failures: 10,
            max_consecutive_timeouts: 10,
            max_connect_attempts: 5,
            unreachable_for: Duration::from_secs(30),
        }
    }
}

impl HealthLimits {
    /// Every so many timeouts in a row the node's health is asked: a fifth of the limit.
    fn check_up_every(&self) -> u32 {
        self.max_consecutive_timeouts.div_ceil(5).max(1)
    }
}

/// What a model is reported for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FailureCode {
    /// There is no such class or method.
    BadImplementation,
    /// It cannot be reached, credentials were refused, or its Setup took too long.
    ConnectionFailed,
    /// Its Setup failed, or calls failed past the limit.
    MultipleFailed,
    /// Calls timed out past the limit.
    MultipleTimeout,
}

impl FailureCode {
    /// As it is on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            FailureCode::BadImplementation => "BAD_IMPLEMENTATION",
            FailureCode::ConnectionFailed => "CONNECTION_FAILED",
            FailureCode::MultipleFailed => "MULTIPLE_FAILED",
            FailureCode::MultipleTimeout => "MULTIPLE_TIMEOUT",
        }
    }
}

impl fmt::Display for FailureCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What one call tells about its model, with the cause in words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Finding<'a> {
    Good,
    Failed(&'a str),
    BadImplementation(&'a str),
    /// The node is not who it has to be, or does not accept who we are.
    CredentialsRefused(&'a str),
    /// No answer in time, or the model was busy for all of it.
    TimedOut(&'a str),
    /// The call was under way when the connection broke, or the node answered with an error of its own.
    Broken(&'a str),
    NoConnection(&'a str),
}

/// What is to be done about a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    Ok,
    /// Ask the node's health, and tell [`Health::not_serving`] if it is bad.
    CheckUp,
    Report(FailureCode, String),
}

/// A call that is skipped so that the model can recover.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CoolDown {
    pub timeouts: u32,
    /// Calls until the next try, the skipped one included; at least 1.
    pub calls_left: u32,
}

impl fmt::Display for CoolDown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let CoolDown { timeouts, calls_left } = *self;
        let rounds = if calls_left == 1 { "round" } else { "rounds" };
        write!(f, "cooling down after {timeouts} timeouts in a row, next try in {calls_left} {rounds}")
    }
}

/// A model's record since its deployment was announced.
#[derive(Debug)]
pub(crate) struct Health {
    /// They may change at any time.
    pub limits: HealthLimits,
    methods: BTreeMap<&'static str, Record>,
    unreachable: Option<Unreachable>,
}

/// One method's.
#[derive(Debug, Default)]
struct Record {
    failures: u32,
    /// What the run was before the latest answer, in case that turns out to be unusable.
    failures_before_answer: u32,
    timeouts: u32,
    skips_left: u32,
    /// In good answers that make up for the refusals so far.
    refusal_debt: u32,
}

#[derive(Debug)]
struct Unreachable {
    since: Duration,
    attempts: u32,
}

impl Health {
    pub fn new(limits: HealthLimits) -> Self {
        Health { limits, methods: BTreeMap::new(), unreachable: None }
    }

    /// After n timeouts in a row the next n / 2 calls (rounded down) of the method are skipped, and the one after them
    /// is a try. `Some` skips one call.
    pub fn cool_down(&mut self, method: &'static str) -> Option<CoolDown> {
        let record = self.record(method);
        let calls_left = record.skips_left;
        record.skips_left = calls_left.checked_sub(1)?;
        Some(CoolDown { timeouts: record.timeouts, calls_left })
    }

    /// True when the next call of the method will be skipped.
    pub fn is_cooling_down(&self, method: &str) -> bool {
        self.methods.get(method).is_some_and(|record| record.skips_left > 0)
    }

    /// The node refused a call as wrong or premature, which is our fault; true when that is excused.
    ///
    /// The model's author must not choose the rounds that it takes part in this way. So a method may refuse as many calls
    /// as may fail in a row, and each refusal is made up for by as many good answers; beyond that it has failed.
    pub fn excuses_refusal(&mut self, method: &'static str) -> bool {
        let limit = self.limits.max_consecutive_failures;
        self.unreachable = None;
        let record = self.record(method);
        let debt = record.refusal_debt.saturating_add(limit);
        let excused = limit > 0 && debt <= limit.saturating_mul(limit);
        if excused {
            record.refusal_debt = debt;
        }
        excused
    }

    /// True when nothing is wrong with the model: no run has begun, in no method, and it is reached.
    pub fn is_sound(&self) -> bool {
        let mut records = self.methods.values();
        self.unreachable.is_none() && records.all(|record| record.failures == 0 && record.timeouts == 0)
    }

    /// Takes in what became of a call at `at`, a time since any fixed instant.
    pub fn note(&mut self, method: &'static str, finding: Finding<'_>, at: Duration) -> Verdict {
        let is_setup = method == SETUP;
        if let Finding::Good | Finding::Failed(_) | Finding::BadImplementation(_) = finding {
            self.unreachable = None;
        }
        match finding {
            Finding::Good => self.good(method),
            Finding::BadImplementation(why) => {
                self.hopeless(method, FailureCode::BadImplementation, format!("{method}: {why}"))
            }
            Finding::CredentialsRefused(why) => {
                self.hopeless(method, FailureCode::ConnectionFailed, format!("refused credentials: {why}"))
            }
            Finding::Failed(why) if is_setup => {
                self.hopeless(method, FailureCode::MultipleFailed, format!("set-up failed: {why}"))
            }
            Finding::TimedOut(why) if is_setup => {
                self.hopeless(method, FailureCode::ConnectionFailed, format!("set-up: {why}"))
            }
            Finding::Broken(why) if is_setup => self.no_connection(why, at),
            Finding::NoConnection(why) => self.no_connection(why, at),
            Finding::Failed(why) => self.failed(method, why),
            Finding::TimedOut(why) | Finding::Broken(why) => self.timed_out(method, why),
        }
    }

    /// The latest answer to this method, noted as good, is unusable.
    pub fn unusable_answer(&mut self, method: &'static str, why: &str) -> Verdict {
        let record = self.record(method);
        record.failures = record.failures_before_answer;
        self.failed(method, why)
    }

    /// The health check that a timeout of this method asked for went badly: it was the node's fault and not the model's.
    pub fn not_serving(&mut self, method: &'static str, why: &str, at: Duration) -> Verdict {
        let record = self.record(method);
        record.timeouts = record.timeouts.saturating_sub(1);
        self.no_connection(why, at)
    }

    fn record(&mut self, method: &'static str) -> &mut Record {
        self.methods.entry(method).or_default()
    }

    fn good(&mut self, method: &'static str) -> Verdict {
        let record = self.record(method);
        record.failures_before_answer = record.failures;
        record.failures = 0;
        record.timeouts = 0;
        record.skips_left = 0;
        record.refusal_debt = record.refusal_debt.saturating_sub(1);
        Verdict::Ok
    }

    /// Waiting for more of the same would be of no use.
    fn hopeless(&mut self, method: &'static str, code: FailureCode, reason: String) -> Verdict {
        let record = self.record(method);
        record.failures = record.failures.saturating_add(1);
        Verdict::Report(code, reason)
    }

    fn failed(&mut self, method: &'static str, why: &str) -> Verdict {
        let limit = self.limits.max_consecutive_failures;
        let record = self.record(method);
        record.failures = record.failures.saturating_add(1);
        record.failures_before_answer = record.failures;
        if record.failures <= limit {
            return Verdict::Ok;
        }
        let reason = format!("{method} failed {} in a row, at last: {why}", times(record.failures));
        Verdict::Report(FailureCode::MultipleFailed, reason)
    }

    fn timed_out(&mut self, method: &'static str, why: &str) -> Verdict {
        let limits = self.limits;
        let record = self.record(method);
        record.timeouts = record.timeouts.saturating_add(1);
        record.skips_left = record.timeouts / 2;
        if record.timeouts > limits.max_consecutive_timeouts {
            let reason = format!("{method} timed out {} in a row, at last: {why}", times(record.timeouts));
            return Verdict::Report(FailureCode::MultipleTimeout, reason);
        }
        if record.timeouts.is_multiple_of(limits.check_up_every()) { Verdict::CheckUp } else { Verdict::Ok }
    }

    fn no_connection(&mut self, why: &str, at: Duration) -> Verdict {
        let limits = self.limits;
        let unreachable = self.unreachable.get_or_insert(Unreachable { since: at, attempts: 0 });
        unreachable.attempts = unreachable.attempts.saturating_add(1);
        let lasted = at.saturating_sub(unreachable.since);
        if unreachable.attempts < limits.max_connect_attempts || lasted < limits.unreachable_for {
            return Verdict::Ok;
        }
        let attempts = times(unreachable.attempts);
        let reason = format!("not reached {attempts} in {:.0?}, at last: {why}", lasted);
        Verdict::Report(FailureCode::ConnectionFailed, reason)
    }
}

fn times(count: u32) -> String {
    if count == 1 { "once".to_owned() } else { format!("{count} times") }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMITS: HealthLimits = HealthLimits {
        max_consecutive_failures: 3,
        max_consecutive_timeouts: 10,
        max_connect_attempts: 5,
        unreachable_for: Duration::from_secs(30),
    };
    const START: Duration = Duration::ZERO;

    fn health() -> Health {
        Health::new(LIMITS)
    }

    /// What each of these findings about `predict` leads to: `.` nothing, `?` a check-up, or the code of a report.
    fn led_to(findings: &[Finding<'_>]) -> Vec<String> {
        let mut health = health();
        findings.iter().map(|finding| short(health.note("predict", *finding, START))).collect()
    }

    fn short(verdict: Verdict) -> String {
        match verdict {
            Verdict::Ok => ".".into(),
            Verdict::CheckUp => "?".into(),
            Verdict::Report(code, _) => code.to_string(),
        }
    }

    #[test]
    fn the_first_failure_above_the_limit_is_reported_with_its_cause() {
        let failed = [Finding::Failed("raised"); 4];
        assert_eq!(led_to(&failed), [".", ".", ".", "MULTIPLE_FAILED"]);
        let mut health = health();
        let last = failed.map(|finding| health.note("predict", finding, START)).into_iter().next_back();
        let reason = "predict failed 4 times in a row, at last: raised".to_owned();
        assert_eq!(last, Some(Verdict::Report(FailureCode::MultipleFailed, reason)));
    }

    #[test]
    fn the_first_timeout_above_the_limit_is_reported_and_every_fifth_of_it_asks_the_health() {
        let expected = [".", "?", ".", "?", ".", "?", ".", "?", ".", "?", "MULTIPLE_TIMEOUT"];
        assert_eq!(led_to(&[Finding::TimedOut("slow"); 11]), expected);
        assert_eq!(led_to(&[Finding::Broken("cut"); 11]), expected);
    }

    #[test]
    fn a_good_answer_ends_both_runs_and_nothing_else_does() {
        use Finding::{Failed, Good, TimedOut};
        let (fails, slow) = (Failed("raised"), TimedOut("slow"));
        assert_eq!(led_to(&[fails, fails, fails, Good, fails]).last().unwrap(), ".");
        let mixed = [fails, slow, fails, slow, fails, slow, fails];
        assert_eq!(led_to(&mixed).last().unwrap(), "MULTIPLE_FAILED");
    }

    #[test]
    fn a_good_tick_hides_no_bad_predict() {
        let mut health = health();
        for _ in 0..3 {
            assert_eq!(health.note("predict", Finding::Failed("raised"), START), Verdict::Ok);
            assert_eq!(health.note("tick", Finding::Good, START), Verdict::Ok);
        }
        let verdict = health.note("predict", Finding::Failed("raised"), START);
        assert_eq!(short(verdict), "MULTIPLE_FAILED");
    }

    #[test]
    fn unusable_answers_are_failures_in_a_row_although_each_came_as_an_answer() {
        let mut health = health();
        let answer = |health: &mut Health, usable: bool| {
            health.note("predict", Finding::Good, START);
            if usable { Verdict::Ok } else { health.unusable_answer("predict", "no list") }
        };
        let verdicts = [false, false, false, true, false, false, false, false];
        let verdicts = verdicts.map(|usable| short(answer(&mut health, usable)));
        assert_eq!(verdicts, [".", ".", ".", ".", ".", ".", ".", "MULTIPLE_FAILED"]);
    }

    #[test]
    fn what_can_only_be_wrong_for_good_is_reported_at_once() {
        let cases = [
            ("predict", Finding::BadImplementation("no such method"), "BAD_IMPLEMENTATION"),
            (SETUP, Finding::BadImplementation("no such class"), "BAD_IMPLEMENTATION"),
            (SETUP, Finding::Failed("raised"), "MULTIPLE_FAILED"),
            (SETUP, Finding::TimedOut("no answer"), "CONNECTION_FAILED"),
            (SETUP, Finding::CredentialsRefused("expired"), "CONNECTION_FAILED"),
            ("predict", Finding::CredentialsRefused("expired"), "CONNECTION_FAILED"),
        ];
        for (method, finding, code) in cases {
            assert_eq!(short(health().note(method, finding, START)), code, "{method} {finding:?}");
        }
    }

    #[test]
    fn a_node_is_unreachable_after_the_attempts_and_the_time() {
        let attempt = |health: &mut Health, second: u64| {
            let at = Duration::from_secs(second);
            short(health.note("predict", Finding::NoConnection("refused"), at))
        };
        let mut hurried = health();
        assert!((0..20).all(|_| attempt(&mut hurried, 100) == "."), "a restart takes its time");
        assert_eq!(attempt(&mut hurried, 130), "CONNECTION_FAILED");
        let mut rare = health();
        let verdicts: Vec<String> = (0..5).map(|n| attempt(&mut rare, 60 * n)).collect();
        assert_eq!(verdicts, [".", ".", ".", ".", "CONNECTION_FAILED"]);
        let mut answers = health();
        (0..4).for_each(|n| _ = attempt(&mut answers, 60 * n));
        answers.note("tick", Finding::Failed("raised"), START);
        assert_eq!(attempt(&mut answers, 600), ".", "it was reached in between");
    }

    #[test]
    fn a_node_that_is_not_serving_counts_as_unreachable_and_not_as_slow() {
        let mut health = health();
        let mut verdicts = Vec::new();
        for n in 0..10 {
            let at = Duration::from_secs(60 * n);
            if health.note("predict", Finding::TimedOut("slow"), at) == Verdict::CheckUp {
                verdicts.push(short(health.not_serving("predict", "not serving", at)));
            }
        }
        assert_eq!(&verdicts[..5], [".", ".", ".", ".", "CONNECTION_FAILED"]);
    }

    #[test]
    fn half_as_many_calls_are_skipped_as_timed_out_in_a_row_and_then_there_is_one_try() {
        let mut health = health();
        let mut skipped_before_try = Vec::new();
        for _ in 0..8 {
            health.note("predict", Finding::TimedOut("slow"), START);
            let skips = std::iter::from_fn(|| health.cool_down("predict")).count();
            skipped_before_try.push(skips);
            assert!(!health.is_cooling_down("predict"));
        }
        assert_eq!(skipped_before_try, [0, 1, 1, 2, 2, 3, 3, 4]);
        assert!(health.cool_down("tick").is_none());
    }

    #[test]
    fn a_cool_down_says_when_it_ends_and_a_good_answer_ends_it() {
        let mut health = health();
        (0..4).for_each(|_| _ = health.note("predict", Finding::TimedOut("slow"), START));
        let words = |health: &mut Health| health.cool_down("predict").map(|it| it.to_string());
        let first = "cooling down after 4 timeouts in a row, next try in 2 rounds";
        assert_eq!(words(&mut health).as_deref(), Some(first));
        let second = "cooling down after 4 timeouts in a row, next try in 1 round";
        assert_eq!(words(&mut health).as_deref(), Some(second));
        assert_eq!(words(&mut health), None);
        (0..2).for_each(|_| _ = health.note("predict", Finding::TimedOut("slow"), START));
        health.note("predict", Finding::Good, START);
        assert_eq!(words(&mut health), None);
    }

    #[test]
    fn a_model_is_sound_while_no_run_has_begun_anywhere() {
        let mut health = health();
        let faults = [
            ("predict", Finding::Failed("f")),
            ("tick", Finding::TimedOut("t")),
            ("predict", Finding::BadImplementation("b")),
            (SETUP, Finding::Failed("f")),
            ("tick", Finding::NoConnection("n")),
        ];
        assert!(health.is_sound());
        for (method, fault) in faults {
            health.note(method, fault, START);
            let other = if method == "tick" { "predict" } else { "tick" };
            if !matches!(fault, Finding::NoConnection(_)) {
                health.note(other, Finding::Good, START);
            }
            assert!(!health.is_sound(), "{fault:?}");
            health.note(method, Finding::Good, START);
            assert!(health.is_sound(), "{fault:?}");
        }
    }

    #[test]
    fn refusals_are_excused_up_to_the_limit_and_made_up_for_by_good_answers() {
        let mut health = health();
        let excused: Vec<bool> = (0..5).map(|_| health.excuses_refusal("predict")).collect();
        assert_eq!(excused, [true, true, true, false, false]);
        (0..2).for_each(|_| _ = health.note("predict", Finding::Good, START));
        assert!(!health.excuses_refusal("predict"), "three good answers make up for one");
        health.note("predict", Finding::Good, START);
        assert!(health.excuses_refusal("predict"));
        assert!(health.excuses_refusal("tick"), "each method by itself");
    }

    fn any_step() -> impl Strategy<Value = u8> {
        0u8..7
    }

    proptest! {
        /// The run is counted here in the plainest way.
        #[test]
        fn reports_come_exactly_when_a_run_is_above_its_limit(steps in prop::collection::vec(any_step(), 0..200)) {
            let mut health = health();
            let (mut failures, mut timeouts) = (0, 0);
            for step in steps {
                let (finding, expects) = match step {
                    0 => { (failures, timeouts) = (0, 0); (Finding::Good, false) }
                    1 | 2 => { failures += 1; (Finding::Failed("f"), failures > 3) }
                    3 | 4 => { timeouts += 1; (Finding::TimedOut("t"), timeouts > 10) }
                    // Neither a skip nor a good tick nor a refusal counts.
                    5 => { _ = health.cool_down("predict"); _ = health.excuses_refusal("predict"); continue }
                    _ => { health.note("tick", Finding::Good, START); continue }
                };
                let verdict = health.note("predict", finding, START);
                prop_assert_eq!(matches!(verdict, Verdict::Report(..)), expects);
            }
        }

        #[test]
        fn no_model_leaves_more_rounds_than_its_excuses(refuses in prop::collection::vec(any::<bool>(), 0..500)) {
            let mut health = health();
            let (mut excused, mut good) = (0, 0);
            for refuses in refuses {
                if refuses {
                    excused += usize::from(health.excuses_refusal("predict"));
                } else {
                    good += 1;
                    health.note("predict", Finding::Good, START);
                }
                prop_assert!(excused <= 3 + good / 3 + 1);
            }
        }
    }
}
