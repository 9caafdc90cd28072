//! What is known of an incident's like, in words.

use std::fmt::Write;

use epicenter_model::{Novelty, ObjectRef, Recurrence, Timestamp};

use crate::habit::{DAY_MS, day_and_minute};
use crate::phrase::plural;

const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;

/// One sentence, when there is something to tell; `blamed` is the object of the cause, `watched` how long the cluster is known, ms.
pub(crate) fn recall(recurrence: &Recurrence, blamed: &ObjectRef, watched: i64) -> Option<String> {
    match (recurrence.novelty, recurrence.count, recurrence.last_at) {
        (Novelty::Cluster, ..) => {
            Some(format!("It is the first of its kind in the cluster, which is watched for {}.", about(watched)))
        }
        (Novelty::Object, ..) => Some(format!(
            "It is the first of its kind on {blamed}, in a cluster that is watched for {}.",
            about(watched)
        )),
        (Novelty::Known, 0, Some(last)) => {
            Some(format!("It happened before, more than 30 days ago: last on {}.", day_and_minute(last)))
        }
        (Novelty::Known, 1.., Some(last)) => Some(again(recurrence, blamed, last)),
        _ => None,
    }
}

fn again(recurrence: &Recurrence, blamed: &ObjectRef, last: Timestamp) -> String {
    let Recurrence { count, period_ms, hours, place, scaled_up, ended, .. } = recurrence;
    let mut text = match count {
        1 => format!("It happened once in the 30 days before, on {}", day_and_minute(last)),
        count => format!("It happened {count} times in the 30 days before, last on {}", day_and_minute(last)),
    };
    // Writing to a String cannot fail.
    if let Some(period) = period_ms {
        _ = write!(text, ", about every {}", about(*period));
    }
    if let Some(hours) = hours {
        _ = write!(text, ", mostly {hours}");
    }
    if let Some(place) = place.as_ref().filter(|place| place.object.full_name() != blamed.full_name()) {
        let (kind, name) = (place.object.kind.to_lowercase(), &place.object.name);
        _ = write!(text, ", {}on {kind} {name}", if *count > 1 { "mostly " } else { "" });
    }
    if *scaled_up > 0 {
        let times = if *count == 1 { String::new() } else { format!("{scaled_up} of them ") };
        _ = write!(text, ", {times}soon after autoscalers had added pods");
    }
    if let Some(ended) = ended {
        let which = if *count == 1 { "it" } else { "the last one" };
        _ = write!(text, "; {which} ended after {}{}", about(ended.lasted_ms), ended.because());
    }
    text.push('.');
    text
}

/// A length of time, rounded to what somebody would say.
pub(crate) fn about(ms: i64) -> String {
    let round = |unit: i64| (ms + unit / 2) / unit;
    match ms {
        ..MINUTE_MS => "less than a minute".to_owned(),
        ms if ms < 2 * HOUR_MS => plural(round(MINUTE_MS), "minute"),
        ms if ms < 2 * DAY_MS => plural(round(HOUR_MS), "hour"),
        _ => plural(round(DAY_MS), "day"),
    }
}

#[cfg(test)]
mod tests {
    use epicenter_model::{EndedBy, Ending, Hours, Place};

    use super::*;

    fn at(text: &str) -> Timestamp {
        format!("2026-11-{text}:00Z").parse().unwrap()
    }

    #[track_caller]
    fn check(recurrence: &Recurrence, expected: &str) {
        let found = recall(recurrence, &ObjectRef::named("Deployment", "shop", "web"), 12 * DAY_MS);
        assert_eq!(found.unwrap_or_default(), expected);
    }

    #[test]
    fn tells_what_was_before() {
        check(&Recurrence::default(), "");
        let first = Recurrence { novelty: Novelty::Cluster, ..Recurrence::default() };
        check(&first, "It is the first of its kind in the cluster, which is watched for 12 days.");
        let first = Recurrence { novelty: Novelty::Object, ..Recurrence::default() };
        check(&first, "It is the first of its kind on Deployment shop/web, in a cluster that is watched for 12 days.");
        let long_ago = Recurrence { last_at: Some(at("01T09:00")), ..Recurrence::default() };
        check(&long_ago, "It happened before, more than 30 days ago: last on Sun 2026-11-01 09:00 UTC.");
        let ended = Ending {
            how: EndedBy::Change,
            lasted_ms: 12 * MINUTE_MS,
            object: Some(ObjectRef::named("Deployment", "shop", "web")),
            reason: "ScalingReplicaSet".into(),
            ..Ending::default()
        };
        let place = Place { object: ObjectRef::named("Node", "", "n3"), count: 3 };
        let once = Recurrence {
            count: 1,
            last_at: Some(at("26T09:12")),
            place: Some(place),
            ended: Some(ended.clone()),
            ..Recurrence::default()
        };
        check(
            &once,
            "It happened once in the 30 days before, on Thu 2026-11-26 09:12 UTC, on node n3; it ended after 12 minutes, when Deployment shop/web changed (ScalingReplicaSet).",
        );
        let hours = Hours {
            days: ["Mon", "Tue", "Wed", "Thu", "Fri"].map(str::to_owned).into(),
            from_hour: 9,
            to_hour: 10,
            count: 5,
        };
        let said = Ending { how: EndedBy::Person, by: "anna".into(), text: "rolled back".into(), ..ended };
        check(
            &Recurrence {
                count: 6,
                hours: Some(hours),
                period_ms: Some(DAY_MS),
                scaled_up: 4,
                ended: Some(said),
                ..once
            },
            "It happened 6 times in the 30 days before, last on Thu 2026-11-26 09:12 UTC, about every 24 hours, mostly Mon-Fri between 09:00 and 10:00 UTC, mostly on node n3, 4 of them soon after autoscalers had added pods; the last one ended after 12 minutes, when anna said so: \"rolled back\".",
        );
    }
}
