//! How many faults a test makes, and the seed of its choices.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};

/// What one run does; printed, so that it can be repeated.
#[derive(Debug, PartialEq, Eq)]
pub struct Plan {
    /// Kills, stops and the like.
    pub faults: usize,
    /// Of every random choice.
    pub seed: u64,
}

impl Plan {
    /// `short` faults, or `full` in `cargo xtask test --full`; `EPICENTER_FAULTS` sets another number, `EPICENTER_SEED`
    /// repeats a run's choices.
    pub fn new(short: usize, full: usize) -> Result<Self> {
        let seed = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis() as u64;
        let plan = Self::from(|name| std::env::var(name).ok(), short, full, seed)?;
        println!("EPICENTER_SEED={} EPICENTER_FAULTS={}", plan.seed, plan.faults);
        Ok(plan)
    }

    fn from(variable: impl Fn(&str) -> Option<String>, short: usize, full: usize, seed: u64) -> Result<Self> {
        let faults = if variable("EPICENTER_TEST_FULL").is_some() { full } else { short };
        Ok(Self {
            faults: number("EPICENTER_FAULTS", &variable)?.map_or(faults, |number| number as usize),
            seed: number("EPICENTER_SEED", &variable)?.unwrap_or(seed),
        })
    }
}

fn number(name: &str, variable: impl Fn(&str) -> Option<String>) -> Result<Option<u64>> {
    variable(name).map(|text| text.parse().with_context(|| format!("{name}={text} is no number"))).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_overrides_the_number_and_the_seed() {
        let check = |set: &[(&str, &str)], expected: (usize, u64)| {
            let variable = |name: &str| set.iter().find(|(set, _)| *set == name).map(|(_, value)| (*value).to_owned());
            let plan = Plan::from(variable, 15, 100, 7).unwrap();
            assert_eq!((plan.faults, plan.seed), expected);
        };
        check(&[], (15, 7));
        check(&[("EPICENTER_TEST_FULL", "1")], (100, 7));
        check(&[("EPICENTER_TEST_FULL", "1"), ("EPICENTER_FAULTS", "3")], (3, 7));
        check(&[("EPICENTER_SEED", "42")], (15, 42));
        let many = |_: &str| Some("many".to_owned());
        assert_eq!(Plan::from(many, 1, 2, 3).unwrap_err().to_string(), "EPICENTER_FAULTS=many is no number");
    }
}
