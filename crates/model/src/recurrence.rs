//! What was known of an incident's like before it.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::meaning::names;
use crate::{ObjectRef, Timestamp};

/// Earlier incidents of the same fingerprint: the same class of cause, on the same workload or other object.
///
/// Times of the day and days of the week are UTC.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Recurrence {
    /// How many began in the 30 days before this one.
    pub count: i64,
    /// The newest of them, at most 5, newest first.
    pub previous: Vec<String>,
    /// Log time at which the first that is known began.
    pub first_at: Option<Timestamp>,
    /// Log time at which the newest began.
    pub last_at: Option<Timestamp>,
    /// From the beginning of one to that of the next, ms, where that is regular.
    pub period_ms: Option<i64>,
    /// When in the week most of them began.
    pub hours: Option<Hours>,
    /// The node, or the zone, on which most of them were.
    pub place: Option<Place>,
    /// How many of them began within 15 minutes after an autoscaler had added pods in a namespace that they touched: under load.
    pub scaled_up: i64,
    /// How the newest ended.
    pub ended: Option<Ending>,
    /// Whether it is the first of its kind.
    pub novelty: Novelty,
}

/// A part of the week.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Hours {
    /// The days on which they began, from `Mon` to `Sun`; none stands for any day.
    pub days: Vec<String>,
    /// The first hour of the day, 0 to 23.
    pub from_hour: i64,
    /// The hour before which they began, 1 to 24; not above `fromHour` when midnight lies between.
    pub to_hour: i64,
    /// How many of the earlier incidents began then.
    pub count: i64,
}

/// Where earlier incidents were.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Place {
    /// A Node, or a Zone.
    pub object: ObjectRef,
    /// How many of the earlier incidents were there alone.
    pub count: i64,
}

/// How an earlier incident ended.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Ending {
    /// What ended it.
    pub how: EndedBy,
    /// Log time at which it was over.
    pub at: Timestamp,
    /// How long it had lasted, ms.
    pub lasted_ms: i64,
    /// The object that was changed, or has recovered.
    pub object: Option<ObjectRef>,
    /// That object's Event: its reason.
    pub reason: String,
    /// Who ended it, or said something of it last.
    pub by: String,
    /// What they said.
    pub text: String,
}

/// What ended an incident.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EndedBy {
    /// Nothing more was heard of it.
    #[default]
    Quiet,
    /// An Event told of the recovery.
    Recovery,
    /// What failed was removed.
    Removal,
    /// Its workload was changed: rolled out, rolled back or scaled.
    Change,
    /// Somebody said so.
    Person,
}
names!(EndedBy or Quiet {
    Quiet => "quiet", Recovery => "recovery", Removal => "removal", Change => "change", Person => "person",
});

/// Whether an incident is the first of its kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Novelty {
    /// It is not, or the cluster is not known for long enough to tell.
    #[default]
    Known,
    /// The first of its class on its workload or other object, as far as is known.
    Object,
    /// The first of its class in its cluster, as far as is known.
    Cluster,
}
names!(Novelty or Known { Known => "known", Object => "object", Cluster => "cluster" });

/// `Mon-Fri between 09:00 and 10:00 UTC`.
impl fmt::Display for Hours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { days, from_hour, to_hour, .. } = self;
        match days.as_slice() {
            [] => {}
            [first, .., last] if days.len() > 2 => write!(f, "{first}-{last} ")?,
            days => write!(f, "{} ", days.join(" and "))?,
        }
        write!(f, "between {from_hour:02}:00 and {to_hour:02}:00 UTC")
    }
}

impl Ending {
    /// What ended it, as the end of a sentence: `, when Deployment shop/web changed (ScalingReplicaSet)`. Empty where nothing is known
    /// of that.
    pub fn because(&self) -> String {
        let named = self.object.as_ref().map(ObjectRef::to_string).unwrap_or_default();
        let mut text = match self.how {
            EndedBy::Change => format!(", when {named} changed ({})", self.reason),
            EndedBy::Recovery if !self.reason.is_empty() => format!(", when {named} had recovered ({})", self.reason),
            EndedBy::Removal => ", when what failed was removed".to_owned(),
            EndedBy::Person => format!(", when {} said so", self.by),
            EndedBy::Recovery | EndedBy::Quiet => String::new(),
        };
        if !self.text.is_empty() {
            text += &match self.how {
                EndedBy::Person => format!(": \"{}\"", self.text),
                _ => format!("; {} said: \"{}\"", self.by, self.text),
            };
        }
        text
    }
}
