//! Which recordings.

use epicenter_scenarios::{Change, Era, Perturbation, Plan, Scenario, Topology};

use super::Set;

/// A recording to be made.
pub struct Case {
    pub plan: Plan,
    pub family: &'static str,
    pub form: &'static str,
}

/// How a recording is taken.
struct Form {
    name: &'static str,
    era: Era,
    objects: bool,
    watch: bool,
    perturbation: Perturbation,
}

const CLEAN: Perturbation = Perturbation { skew_s: 0.0, slow_node: false, loss: 0.0, duplicates: 0.0, reorder_s: 0.0 };

const FORMS: [Form; 5] = [
    Form { name: "watch, objects", era: Era::New, objects: true, watch: true, perturbation: CLEAN },
    Form {
        name: "watch, objects, skewed, late, double",
        era: Era::New,
        objects: true,
        watch: true,
        perturbation: Perturbation { skew_s: 5.0, duplicates: 0.3, reorder_s: 60.0, ..CLEAN },
    },
    Form {
        name: "watch, 5 % lost",
        era: Era::New,
        objects: false,
        watch: true,
        perturbation: Perturbation { loss: 0.05, ..CLEAN },
    },
    Form { name: "List", era: Era::Middle, objects: false, watch: false, perturbation: CLEAN },
    Form {
        name: "List, 1.8, a slow clock",
        era: Era::Old,
        objects: false,
        watch: false,
        perturbation: Perturbation { slow_node: true, skew_s: 2.0, ..CLEAN },
    },
];

/// Changes that go on beside a fault, and do not look like one of the faults.
const BACKGROUND: [Change; 6] = [
    Change::RollingUpdate,
    Change::CronJob,
    Change::Autoscaling,
    Change::DeletingPod,
    Change::BindConflict,
    Change::KubeletStart,
];

fn topology(set: Set) -> Topology {
    match set {
        Set::Train => Topology { nodes: 2..9, workloads: 8..20, names: 0 },
        Set::Test => Topology { nodes: 3..25, workloads: 15..45, names: 1 },
    }
}

/// Recordings with one fault, with two at once, and with five in an old dump.
pub fn cases(set: Set) -> Vec<Case> {
    let base: u64 = if set == Set::Train { 1_000 } else { 900_000 };
    let rounds = if set == Set::Train { 2 } else { 3 };
    let mut cases = Vec::new();
    let mut seed = base;
    let mut add = |faults: Vec<(f64, Scenario)>, form: &Form, family| {
        seed += 1;
        let changes = (0..6).map(|n| (40.0 + 190.0 * n as f64, BACKGROUND[(seed as usize + n) % 6])).collect();
        let Form { era, objects, watch, perturbation, .. } = *form;
        let plan = Plan { seed, topology: topology(set), era, objects, watch, faults, changes, perturbation };
        cases.push(Case { plan, family, form: form.name });
    };
    let held_out = |scenario: &Scenario| Scenario::HELD_OUT.contains(scenario);
    for scenario in Scenario::ALL {
        for form in &FORMS {
            match (set, held_out(&scenario)) {
                (Set::Train, true) => {}
                (_, held_out) => {
                    let family = if held_out { "one fault, not in train" } else { "one fault" };
                    (0..rounds).for_each(|_| add(vec![(400.0, scenario)], form, family));
                }
            }
        }
    }
    let pool: Vec<Scenario> =
        Scenario::ALL.into_iter().filter(|scenario| set == Set::Test || !held_out(scenario)).collect();
    let pick = |n: usize| pool[(n * 7 + 3) % pool.len()];
    for n in 0..if set == Set::Train { 20 } else { 40 } {
        let pair = vec![(400.0, pick(n)), (420.0, pick(n * 3 + 1 + n / pool.len()))];
        add(pair, &FORMS[n % FORMS.len()], "two at once");
    }
    for n in 0..if set == Set::Train { 6 } else { 12 } {
        let five = (0..5).map(|k| (300.0 + 110.0 * k as f64, pick(n * 5 + k))).collect();
        add(five, &FORMS[3 + n % 2], "five in a dump");
    }
    cases
}

/// Days of planned changes only.
pub fn quiet_days(set: Set) -> Vec<Case> {
    let (base, days): (u64, u64) = if set == Set::Train { (5_000, 40) } else { (950_000, 120) };
    (0..days)
        .map(|day| {
            let form = &FORMS[[0, 1, 2][day as usize % 3]];
            let era = [Era::New, Era::Middle][day as usize % 2];
            let changes = (0..48)
                .map(|n| (n as f64 * 1760.0 + 60.0, Change::ALL[(n * 5 + day as usize) % Change::ALL.len()]))
                .chain((0..280).map(|n| (n as f64 * 300.0 + 7.0, Change::CronJob)))
                .collect();
            let plan = Plan {
                seed: base + day,
                topology: topology(set),
                era,
                objects: form.objects,
                watch: true,
                faults: vec![],
                changes,
                perturbation: form.perturbation,
            };
            Case { plan, family: "quiet", form: form.name }
        })
        .collect()
}
