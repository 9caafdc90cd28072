//! What collection does to Events.

use std::collections::HashMap;

use rand::Rng;
use rand::rngs::StdRng;

use crate::recorder::Write;

/// What is spoiled, and how much of it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Perturbation {
    /// Clocks of nodes are off by up to so many seconds.
    pub skew_s: f64,
    /// One node's clock is ten minutes slow.
    pub slow_node: bool,
    /// Share of writes that are lost.
    pub loss: f64,
    /// Share of writes that come twice.
    pub duplicates: f64,
    /// Writes come up to so many seconds late.
    pub reorder_s: f64,
}

impl Perturbation {
    /// Spoils `writes`. Gives by how many seconds each node's clock is off.
    pub(crate) fn apply(&self, writes: &mut Vec<Write>, nodes: &[String], rng: &mut StdRng) -> HashMap<String, f64> {
        let mut skews: HashMap<String, f64> = HashMap::new();
        for node in nodes {
            let skew = if self.skew_s > 0.0 { rng.random_range(-self.skew_s..self.skew_s) } else { 0.0 };
            skews.insert(node.clone(), skew);
        }
        if self.slow_node
            && let Some(node) = nodes.get(rng.random_range(0..nodes.len().max(1)))
        {
            skews.insert(node.clone(), -600.0);
        }
        if self.loss > 0.0 {
            writes.retain(|_| !rng.random_bool(self.loss));
        }
        if self.duplicates > 0.0 {
            let again: Vec<Write> = writes.iter().filter(|_| rng.random_bool(self.duplicates)).cloned().collect();
            writes.extend(again);
        }
        if self.reorder_s > 0.0 {
            for write in writes.iter_mut() {
                write.at += rng.random_range(0.0..self.reorder_s);
            }
        }
        writes.sort_by(|a, b| a.at.total_cmp(&b.at));
        skews
    }
}
