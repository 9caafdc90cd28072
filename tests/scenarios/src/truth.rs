//! What a recording is known to show.

use std::collections::BTreeMap;

use crate::chains::Scenario;

/// What belongs to which fault.
#[derive(Clone, Debug, Default)]
pub struct Truth {
    /// The faults that were made.
    pub faults: Vec<Fault>,
    /// The label of each Event, by uid.
    pub labels: BTreeMap<String, Label>,
}

/// A fault that was made.
#[derive(Clone, Debug)]
pub struct Fault {
    /// Which of the scenarios.
    pub scenario: Scenario,
    /// When it began, in seconds since the recording's.
    pub onset: f64,
    /// An Event, or a status when there are objects, shows the cause.
    pub observable: bool,
    /// Objects that count as the right root, as (kind, namespace, name).
    pub roots: Vec<(String, String, String)>,
    /// Classes that count as right; a trailing `*` stands for any ending.
    pub classes: Vec<&'static str>,
}

/// To what an Event belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Label {
    /// It shows this fault.
    Telling(usize),
    /// It would not be there without this fault, and shows nothing wrong by itself.
    Part(usize),
    /// It belongs to no fault.
    Noise,
}
