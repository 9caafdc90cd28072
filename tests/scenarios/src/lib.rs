//! Made-up clusters in trouble: recordings whose truth is known, because the trouble was made.
//!
//! [`play`] puts the faults and planned changes of a [`Plan`] on a random cluster, has every component say what it says
//! in that Kubernetes version (`chains`, `quiet`), lets the recorders of client-go count, combine and suppress it
//! (`recorder`), and spoils the result as real collection does (`perturb`). What comes out is what `kubectl get -o json` or
//! a watch writes, and a label for each Event.
//!
//! Everything follows from the seed.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic))]

mod chains;
mod cluster;
mod names;
mod objects;
mod perturb;
mod plan;
mod quiet;
mod recorder;
mod stage;
mod truth;
mod week;
mod wording;

pub use chains::Scenario;
pub use perturb::Perturbation;
pub use plan::{Plan, Recording, Topology, play};
pub use quiet::Change;
pub use truth::{Fault, Label, Truth};
pub use week::{MORNINGS, mornings, weeks};
pub use wording::Era;
