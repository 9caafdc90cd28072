//! One sum of the results that each test binary prints.

use std::fmt;

/// What the test binaries have said so far.
#[derive(Default, Debug, PartialEq, Eq)]
pub struct Totals {
    announced: u64,
    passed: u64,
    failed: u64,
    ignored: u64,
    measured: u64,
}

impl Totals {
    /// Takes a line of libtest's output: `running N tests`, `test result: ok. P passed; F failed; I ignored; …`.
    pub fn read(&mut self, line: &str) {
        let line = line.trim_end();
        if let Some(rest) = line.strip_prefix("running ")
            && let Some(number) = rest.strip_suffix(" tests").or_else(|| rest.strip_suffix(" test"))
        {
            self.announced += number.parse::<u64>().unwrap_or(0);
        } else if let Some((_, counts)) = line.strip_prefix("test result: ").and_then(|rest| rest.split_once(". ")) {
            for (number, what) in counts.split("; ").filter_map(|count| count.split_once(' ')) {
                let number = number.parse::<u64>().unwrap_or(0);
                match what {
                    "passed" => self.passed += number,
                    "failed" => self.failed += number,
                    "ignored" => self.ignored += number,
                    "measured" => self.measured += number,
                    _ => {}
                }
            }
        }
    }

    /// A binary that dies says nothing of its tests: those have failed as well.
    fn failed(&self) -> u64 {
        let told = self.passed + self.failed + self.ignored + self.measured;
        self.failed + self.announced.saturating_sub(told)
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (passed, failed, ignored) = (self.passed, self.failed(), self.ignored);
        writeln!(f, "test result total: {passed} passed; {failed} failed; {ignored} ignored")?;
        write!(f, "{passed} passed, {failed} failed")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adds_up_binaries_and_counts_those_that_died() {
        let check = |lines: &[&str], expected: &str| {
            let mut totals = Totals::default();
            lines.iter().for_each(|line| totals.read(line));
            assert_eq!(totals.to_string().lines().last(), Some(expected));
        };
        let ok = "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 7 filtered out; finished in 0.00s\n";
        let bad = "test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.20s\n";
        check(&[], "0 passed, 0 failed");
        check(&["running 4 tests\n", "test a ... ok\n", ok], "3 passed, 0 failed");
        check(&["running 4 tests\n", ok, "running 3 tests\n", bad], "4 passed, 2 failed");
        check(&["running 4 tests\n", ok, "running 1 test\n", "test b ... "], "3 passed, 1 failed");
    }
}
