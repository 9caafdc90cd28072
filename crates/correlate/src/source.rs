//! Rules as they stand in YAML files.

use epicenter_model::Severity;
use serde::{Deserialize, Serialize};

use crate::edge::Edge;
use crate::patterns::PatternRule;

/// A file of rules, as it stands in YAML. Only [`RulesBuilder`](crate::RulesBuilder) looks into it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RuleFile {
    pub(crate) rules: Vec<CausalRule>,
    pub(crate) common: Vec<CommonRule>,
    pub(crate) roots: Vec<RootRule>,
    pub(crate) quiet: Vec<QuietRule>,
    /// Classes of Events by which an object is on its way out: nothing about it lasts.
    pub(crate) gone: Vec<String>,
    /// Classes of Events that say why a pod is deleted, or what a deletion should not lead to: that the pod is being deleted
    /// excuses none of them.
    pub(crate) despite_deletion: Vec<String>,
    /// Classes of Events that tell of harm that stays: what led to them has not healed, however soon it was over.
    pub(crate) harm: Vec<String>,
    pub(crate) serves: Vec<Serving>,
    pub(crate) needs: Vec<Need>,
    pub(crate) implies: Vec<Implied>,
    pub(crate) patterns: Vec<PatternRule>,
}

/// A cause, and what it does to objects that are linked with it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CausalRule {
    pub id: String,
    pub cause: Vec<String>,
    pub effect: Vec<String>,
    /// From the effect's object to what it has in common with the cause.
    pub edge: Edge,
    /// From the cause's object to the same; the cause is about that object itself when absent.
    #[serde(default = "object")]
    pub of: Edge,
    /// The kind of what they have in common, where only one is meant.
    #[serde(default)]
    pub kind: Option<String>,
    /// Seconds from cause to effect by the emitters' clocks, least and most.
    pub lag_s: (i64, i64),
    /// How sure it is that this cause, when it is there, explains this effect: above 0, at most 1.
    pub weight: f64,
    /// One sentence for people.
    pub why: String,
    pub source: String,
}

/// Several owners that fail alike and share one thing: that thing is the cause, though no Event says so.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CommonRule {
    pub id: String,
    pub classes: Vec<String>,
    pub edge: Edge,
    /// The kind of what they have in common, where only one is meant.
    #[serde(default)]
    pub kind: Option<String>,
    /// How many different owners it takes.
    pub owners: usize,
    pub within_s: i64,
    /// Sharing it must also be rarer than chance allows.
    #[serde(default)]
    pub enrichment: bool,
    pub weight: f64,
    /// The title; `{name}` is the shared thing.
    pub title: String,
    pub why: String,
    pub kubectl: String,
    pub source: String,
}

/// What to blame for Events of some classes when nothing else explains them.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RootRule {
    pub classes: Vec<String>,
    /// The first of these that is known: a link, or `workload` for the top owner.
    pub blame: Vec<Blame>,
    /// How likely such an Event is a root at all.
    pub prior: f64,
    /// How likely it has a cause of its own, against all causal rules together.
    pub own: f64,
    /// What to say when this is the root: the real cause does not show in Events.
    #[serde(default)]
    pub hidden: String,
    /// It often passes by itself: no more than a note until it has lasted.
    #[serde(default)]
    pub passes: Passes,
}

/// How what often passes by itself shows that it has not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Passes {
    /// It does not pass: it counts at once.
    #[default]
    Never,
    /// Nothing has said that it is over.
    UnlessItStays,
    /// Its own Events go on: that it is over no Event says.
    UnlessItRepeats,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Blame {
    Object,
    Workload,
    Node,
    Claim,
    Volume,
    StorageClass,
    CsiDriver,
    Secret,
    ConfigMap,
    Registry,
    Quota,
    Webhook,
    ServiceAccount,
    Namespace,
    Related,
    Api,
    /// What else the text names.
    Named,
}

/// A planned change during which some symptoms are to be expected.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct QuietRule {
    pub id: String,
    pub classes: Vec<String>,
    /// Classes of the planned change, on what `edge` leads to.
    pub after: Vec<String>,
    pub edge: Edge,
    #[serde(default = "object")]
    pub of: Edge,
    pub within_s: i64,
    /// Open an incident of at most this severity; none at all when absent.
    #[serde(default)]
    pub severity: Option<Severity>,
    /// It counts in full after all when it still goes on so long after it was opened.
    #[serde(default)]
    pub lasts_s: Option<i64>,
    pub source: String,
}

/// What a workload does for others: it serves an API, runs a driver, connects pods.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Serving {
    pub workload: String,
    /// What it does, as an object; of a `Service` it is that of the workload's namespace.
    pub kind: String,
    pub name: String,
    /// It is a DaemonSet wherever it is used, each pod of which does it for its own node.
    #[serde(default)]
    pub daemon: bool,
}

/// What a workload cannot do without.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Need {
    pub workload: String,
    pub kind: String,
    pub name: String,
}

/// What Events of a class are about, though they do not name it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Implied {
    pub class: String,
    pub kind: String,
    pub name: String,
}

fn object() -> Edge {
    Edge::Object
}
