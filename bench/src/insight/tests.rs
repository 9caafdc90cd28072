use std::collections::BTreeMap;
use std::fmt::Write as _;

use epicenter_model::Incident;
use epicenter_scenarios::{Era, Perturbation, Plan, Topology};
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

/// What is found in recordings of real clusters, and which injected fault each incident above `info` is.
#[test]
fn finds_the_faults_of_real_clusters() {
    let text = real::told(&Engine::new(Without::Nothing).unwrap()).unwrap();
    expect_file!["../../golden/real.txt"].assert_eq(&text);
}

/// The watch connects again in the middle, and all that is there comes once more; in the end all Events expire. Neither says anything
/// new.
#[test]
fn hears_nothing_new_in_what_a_watch_repeats_or_deletes() {
    let engine = Engine::new(Without::Nothing).unwrap();
    let watched = corpus::cases(Set::Train).into_iter().filter(|case| case.plan.watch);
    let quiet = corpus::quiet_days(Set::Train).into_iter().filter(|case| case.plan.watch).take(1);
    for case in watched.step_by(EACH).chain(quiet) {
        let mut recording = epicenter_scenarios::play(&case.plan);
        let told = engine.run(&recording).unwrap();
        let stream = recording.files["watch.jsonl"].clone();
        let lines: Vec<&str> = stream.lines().collect();
        let (before, after) = lines.split_at(lines.len() / 2);
        // What is older than an hour is gone from the API server.
        let seen = newest(before);
        let since = seen.values().filter_map(at).max().unwrap() - jiff::SignedDuration::from_mins(55);
        let kept = seen.into_values().filter(|event| at(event).is_some_and(|at| at > since));
        let again = kept.map(|event| line("ADDED", &event));
        let deleted = newest(&lines).into_values().map(|event| line("DELETED", &event));
        let whole: Vec<String> = before
            .iter()
            .map(|line| (*line).to_owned())
            .chain(again)
            .chain(after.iter().map(|line| (*line).to_owned()))
            .chain(deleted)
            .collect();
        recording.files.insert("watch.jsonl".to_owned(), whole.join("\n"));
        let repeated = engine.run(&recording).unwrap();
        let seed = case.plan.seed;
        assert_eq!(repeated.incidents, told.incidents, "seed {seed}, {}, {}", case.family, case.form);
        assert_eq!(repeated.events.len(), told.events.len(), "seed {seed}");
    }
}

/// The newest version of each Event that `lines` of a watch have.
fn newest(lines: &[&str]) -> BTreeMap<String, serde_json::Value> {
    let event = |line: &&str| serde_json::from_str::<serde_json::Value>(line).unwrap()["object"].take();
    lines.iter().map(event).map(|event| (event["metadata"]["uid"].to_string(), event)).collect()
}

/// When it happened last.
fn at(event: &serde_json::Value) -> Option<jiff::Timestamp> {
    let fields = ["/series/lastObservedTime", "/lastTimestamp", "/eventTime", "/metadata/creationTimestamp"];
    fields.iter().find_map(|field| event.pointer(field)?.as_str()?.parse().ok())
}

fn line(what: &str, event: &serde_json::Value) -> String {
    serde_json::json!({"type": what, "object": event}).to_string()
}

/// In weeks that are as others are, nothing comes more often than usual, though some hours are busier than others: no pattern begins an
/// incident, or is said in one. What does, `patterns` of the engine's own tests show. `EPICENTER_WEEKS` is how many weeks are watched, of
/// a cluster less than that.
#[test]
fn nothing_is_out_of_the_ordinary_in_quiet_weeks() {
    let weeks: u16 = std::env::var("EPICENTER_WEEKS").map_or(3, |weeks| weeks.parse().unwrap());
    let engine = Engine::new(Without::Nothing).unwrap();
    for cluster in 1..weeks {
        let seed = 7_000 + u64::from(cluster);
        let recording = epicenter_scenarios::play(&Plan {
            seed,
            topology: Topology { nodes: 2..9, workloads: 8..20, names: 0 },
            era: [Era::New, Era::Middle][usize::from(cluster) % 2],
            objects: true,
            watch: true,
            faults: vec![],
            changes: epicenter_scenarios::weeks(seed, weeks),
            perturbation: Perturbation::default(),
        });
        let incidents = engine.run(&recording).unwrap().incidents;
        println!("cluster {cluster}: {} Events, {} incidents", recording.events, incidents.len());
        assert!(recording.events > 5_000 * usize::from(weeks), "it is watched while much happens");
        let has_pattern = |it: &&Incident| it.events.by_reason.keys().any(|reason| reason.starts_with("Pattern"));
        let told: Vec<_> = incidents.iter().filter(has_pattern).map(|it| (it.opened_at, &it.explanation)).collect();
        assert_eq!(told, [], "cluster {cluster}");
    }
}

/// Writes that come up to 60 s late, in another order each time: nearly always the same Events together, with the same root.
/// `EPICENTER_ORDERS` is how many orders are tried.
#[test]
fn the_order_of_arrival_seldom_matters() {
    let orders: usize = std::env::var("EPICENTER_ORDERS").map_or(20, |orders| orders.parse().unwrap());
    let engine = Engine::new(Without::Nothing).unwrap();
    let cases: Vec<_> = corpus::cases(Set::Train).into_iter().filter(|case| case.plan.watch).collect();
    let shape = |plan: &epicenter_scenarios::Plan| {
        let recording = epicenter_scenarios::play(plan);
        let outcome = engine.run(&recording).unwrap();
        let mut shape: Vec<_> = outcome.guesses.iter().filter_map(|guess| guess.shape(&recording.truth)).collect();
        shape.sort();
        shape
    };
    let mut same = 0;
    for case in cases.iter().step_by((cases.len() / orders).max(1)).take(orders) {
        let mut late = case.plan.clone();
        late.perturbation.reorder_s = 60.0;
        if shape(&case.plan) == shape(&late) {
            same += 1;
        } else {
            println!("otherwise: seed {}, {}, {}", case.plan.seed, case.family, case.form);
        }
    }
    println!("the same in {same} of {orders} orders");
    assert!(same * 10 >= orders * 9, "the same in {same} of {orders} orders only");
}
