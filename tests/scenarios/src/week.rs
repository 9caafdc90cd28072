//! Whole weeks: in which nothing is wrong, as the people and the timetables of a company have them, and one in which the same is wrong
//! each morning.

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use crate::chains::Scenario;
use crate::perturb::Perturbation;
use crate::plan::{Plan, Topology};
use crate::quiet::Change;
use crate::wording::Era;

const HOUR: i32 = 3_600;
/// Recordings begin on a Monday, at eight.
const BEGAN: i32 = 8;
/// Hours at which people work, Monday to Friday.
const WORK: std::ops::Range<i32> = 8..18;
/// How often an hour has such a change: while people work, in the evening and at the weekend, and at night.
const USUAL: [(Change, [f64; 3]); 9] = [
    (Change::RollingUpdate, [0.8, 0.1, 0.02]),
    (Change::Autoscaling, [1.2, 0.3, 0.05]),
    (Change::ScaleUp, [0.2, 0.02, 0.0]),
    (Change::DeletingPod, [0.2, 0.05, 0.02]),
    (Change::BindConflict, [0.2, 0.05, 0.02]),
    (Change::Teardown, [0.1, 0.01, 0.0]),
    (Change::Consolidation, [0.1, 0.1, 0.1]),
    (Change::KubeletStart, [0.02, 0.02, 0.02]),
    (Change::Distribution, [1.0, 1.0, 1.0]),
];
/// Runs of a cron job in each hour, and in the hour of those that run every night.
const RUNS: i32 = 6;
const RUNS_AT_NIGHT: i32 = 40;
const NIGHTLY: i32 = 1;
/// Nodes are upgraded on Wednesdays, from two in the night on, in so many steps.
const UPGRADE: (i32, i32) = (2, 2);
const UPGRADED: i32 = 4;

/// The changes of so many weeks, each at its second, in order; all follows from `seed`.
pub fn weeks(seed: u64, weeks: u16) -> Vec<(f64, Change)> {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut changes = Vec::new();
    for hour in 0..i32::from(weeks) * 7 * 24 {
        let (day, of_day) = ((hour + BEGAN) / 24 % 7, (hour + BEGAN) % 24);
        let busy = match of_day {
            _ if WORK.contains(&of_day) && day < 5 => 0,
            8..24 => 1,
            _ => 2,
        };
        let mut add = |second: f64, change| changes.push((f64::from(hour * HOUR) + second, change));
        for (change, often) in USUAL {
            // By the minute, so that there may be several, and seldom are.
            for minute in 0..60 {
                if rng.random_bool(often[busy] / 60.0) {
                    add(f64::from(minute * 60) + rng.random_range(0.0..60.0), change);
                }
            }
        }
        let runs = if of_day == NIGHTLY { RUNS_AT_NIGHT } else { RUNS };
        (0..runs).for_each(|run| add(f64::from(run * HOUR / runs) + 7.0, Change::CronJob));
        if (day, of_day) == UPGRADE {
            (0..UPGRADED).for_each(|step| add(f64::from(step * HOUR / UPGRADED), Change::NodeUpgrade));
        }
    }
    changes.sort_by(|a, b| a.0.total_cmp(&b.0));
    changes
}

/// The working days of [`mornings`] on which something is wrong, from a Monday on.
pub const MORNINGS: [u32; 6] = [0, 1, 2, 3, 4, 7];

/// Each working day at nine volumes come late on one node; between that there are rollouts, cron jobs and autoscaling.
pub fn mornings() -> Plan {
    let nine = |day: u32| f64::from(day) * 86_400.0 + 3_900.0 + 180.0 * f64::from(day % 3);
    let quiet = [Change::RollingUpdate, Change::CronJob, Change::Autoscaling, Change::DeletingPod];
    Plan {
        seed: 26,
        topology: Topology { nodes: 4..6, workloads: 10..12, names: 0 },
        era: Era::New,
        objects: true,
        watch: true,
        faults: MORNINGS.iter().map(|day| (nine(*day), Scenario::SlowAttachments)).collect(),
        changes: (0..16).map(|n| (20_000.0 + 40_000.0 * f64::from(n), quiet[n as usize % quiet.len()])).collect(),
        perturbation: Perturbation::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_work_by_day_and_machines_at_night() {
        let all = weeks(1, 2);
        assert!(all.is_sorted_by(|a, b| a.0 <= b.0));
        assert_eq!(all, weeks(1, 2));
        assert_ne!(all, weeks(2, 2));
        let count = |change: Change, days: &[i32], hours: std::ops::Range<i32>| {
            let at = |second: f64| second as i32 / HOUR + BEGAN;
            let then = |hour: i32| days.contains(&(hour / 24 % 7)) && hours.contains(&(hour % 24));
            all.iter().filter(|(second, found)| *found == change && then(at(*second))).count()
        };
        let (week, weekend) = ([0, 1, 2, 3, 4], [5, 6]);
        assert!(count(Change::RollingUpdate, &week, 8..18) > 10 * count(Change::RollingUpdate, &week, 0..8));
        assert!(count(Change::RollingUpdate, &week, 8..18) > 5 * count(Change::RollingUpdate, &weekend, 8..18));
        assert_eq!(count(Change::NodeUpgrade, &[2], 2..3), 8, "two Wednesdays");
        assert_eq!(count(Change::CronJob, &weekend, 1..2), 4 * 40);
    }
}
