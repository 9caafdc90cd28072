//! What a topic that was lost means for the processor that had read it.

/// What is lost of a processor's partition. It stands still until somebody says how to go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{processor}/{partition}: {damage}")]
pub struct Loss {
    /// The processor's name.
    pub processor: String,
    /// The partition of its input.
    pub partition: u32,
    /// What is gone.
    pub damage: Damage,
}

/// How a partition goes on that had lost something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// What it has lost.
    pub loss: Loss,
    /// The input offset from which it goes on, or from which its state is made anew.
    pub from: i64,
    /// Its state is made anew of what the input still has; else it goes on with the state that it has.
    pub rebuilt: bool,
    /// The ids of the sources that list their clusters anew.
    pub listed: Vec<String>,
}

/// What is gone.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// The input ends before what was read of it.
    #[error(
        "{topic} was read up to offset {offset} and ends at {end}: it was deleted and created again, or lost its end. What was in it and was not read yet is lost"
    )]
    InputCut {
        /// Full name.
        topic: String,
        /// The offset to read next.
        offset: i64,
        /// The offset behind its last record.
        end: i64,
    },
    /// The input has another record where the last one was that was read.
    #[error(
        "{topic} was read up to offset {offset} and has another record before it: it was deleted and created again. What was in it and was not read yet is lost"
    )]
    InputOther {
        /// Full name.
        topic: String,
        /// The offset to read next.
        offset: i64,
    },
    /// Retention was faster than the processor.
    #[error("{topic} was read up to offset {offset} and begins at {begin}: what is between was deleted unread")]
    InputExpired {
        /// Full name.
        topic: String,
        /// The offset to read next.
        offset: i64,
        /// The offset of its first record.
        begin: i64,
    },
    /// The state is gone, and the input no longer has all that it was made of.
    #[error("the state in {stores} is gone, and {topic}, of which it was made, no longer goes back to its beginning")]
    State {
        /// Full names of the changelogs.
        stores: String,
        /// Full name of the input.
        topic: String,
    },
}

impl Damage {
    /// What to run, and what that does.
    pub(crate) const MEND: &str =
        "Run `epicenter topics recover`: it says what it does of each topic, and goes on with what is left";
}
