use std::fmt::Write as _;

use expect_test::expect_file;

use super::*;

/// Every so many of the recordings: each scenario and each form is among them.
const EACH: usize = 7;

/// What is found in made-up recordings: a rule that makes it better or worse shows here, incident by incident.
#[test]
fn finds_the_incidents_that_it_found() {
    let engine = Engine::new(Without::Nothing).unwrap();
    let mut text = String::new();
    for case in corpus::cases(Set::Train).iter().step_by(EACH) {
        let recording = epicenter_scenarios::play(&case.plan);
        let outcome = engine.run(&recording).unwrap();
        writeln!(text, "{} {}, {}", case.plan.seed, case.family, case.form).unwrap();
        for fault in &recording.truth.faults {
            writeln!(text, "  {:?} of {:?}", fault.scenario, fault.roots).unwrap();
        }
        for guess in outcome.guesses.iter().filter(|guess| guess.loud) {
            writeln!(text, "  -> {} [{}]", guess.told(), guess.labels(&recording.truth)).unwrap();
        }
    }
    expect_file!["../../golden/insight.txt"].assert_eq(&text);
}
