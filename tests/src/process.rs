//! A child process that ends with its owner.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

/// A signal, by the name that `kill` knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// End in order.
    Term,
    /// End at once.
    Kill,
    /// Stand still.
    Stop,
    /// Go on.
    Cont,
}

/// A child whose output goes to a log file. Dropping it kills it; so does the end of this process, however it comes.
pub struct Process {
    name: String,
    child: Child,
    watch: Child,
    log: PathBuf,
    stdin: Option<ChildStdin>,
}

impl Process {
    /// Starts `command`; its output is appended to `log`.
    pub fn spawn(name: &str, command: &mut Command, log: &Path) -> Result<Self> {
        let file = File::options()
            .create(true)
            .append(true)
            .open(log)
            .with_context(|| format!("opening {}", log.display()))?;
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .with_context(|| format!("starting {name}"))?;
        let stdin = child.stdin.take();
        let watch = watch(child.id())?;
        Ok(Self { name: name.to_owned(), child, watch, log: log.to_owned(), stdin })
    }

    /// Its pid.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The most memory that it has had, bytes (Linux: `VmHWM`).
    pub fn peak_memory(&self) -> Result<u64> {
        peak_memory(self.pid())
    }

    /// The memory that it has now, bytes.
    pub fn memory(&self) -> Result<u64> {
        memory(self.pid())
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let name = match signal {
            Signal::Term => "-TERM",
            Signal::Kill => "-KILL",
            Signal::Stop => "-STOP",
            Signal::Cont => "-CONT",
        };
        let status = Command::new("kill").args([name, &self.pid().to_string()]).status().context("running kill")?;
        if !status.success() {
            bail!("kill {name} of {} failed", self.name);
        }
        Ok(())
    }

    /// Closes its standard input.
    pub fn close_stdin(&mut self) {
        self.stdin = None;
    }

    /// How it ended, when it has.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Waits for its end.
    pub fn wait(&mut self, limit: Duration) -> Result<ExitStatus> {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            if Instant::now() > deadline {
                bail!("{} has not ended within {limit:?}\n{}", self.name, self.tail());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits until `ready` holds; fails when it ends first, or after `limit`.
    pub fn until(&mut self, limit: Duration, mut ready: impl FnMut(&str) -> bool) -> Result<()> {
        let deadline = Instant::now() + limit;
        while !ready(&fs::read_to_string(&self.log).unwrap_or_default()) {
            if let Some(status) = self.child.try_wait()? {
                bail!("{} ended with {status} before it was ready\n{}", self.name, self.tail());
            }
            if Instant::now() > deadline {
                bail!("{} is not ready after {limit:?}\n{}", self.name, self.tail());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// All that it has printed.
    pub fn output(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// The last lines that it has printed.
    pub fn tail(&self) -> String {
        let text = self.output();
        let lines: Vec<_> = text.lines().collect();
        format!("--- {}\n{}", self.log.display(), lines[lines.len().saturating_sub(30)..].join("\n"))
    }

    /// Kills it and waits for its end.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

/// The memory that a process has now, bytes (Linux: `VmRSS`).
pub fn memory(pid: u32) -> Result<u64> {
    status_of(pid, "VmRSS")
}

/// The most memory that a process has had, bytes (Linux: `VmHWM`).
pub fn peak_memory(pid: u32) -> Result<u64> {
    status_of(pid, "VmHWM")
}

fn status_of(pid: u32, field: &str) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
    Ok(kib.with_context(|| format!("no {field} in /proc/{pid}/status"))?.trim().parse::<u64>()? * 1024)
}

/// The command `epicenter`, as the workspace's build left it beside the program that asks, or above it, when that is a test.
pub fn binary() -> Result<PathBuf> {
    program("epicenter")
}

/// One of the package `epicenter`'s programs, likewise.
pub fn program(name: &str) -> Result<PathBuf> {
    let asking = std::env::current_exe()?;
    let mut beside = asking.ancestors().skip(1).take(2).map(|folder| folder.join(name));
    beside.find(|binary| binary.is_file()).with_context(|| {
        format!("there is no {name} beside {}: build it with `cargo build -p epicenter`", asking.display())
    })
}

/// A process that kills `pid` when this one, which holds the other side of its standard input, has died. A signal to the
/// whole group, as `timeout` and a terminal send it, leaves it to its work.
fn watch(pid: u32) -> Result<Child> {
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' HUP INT TERM; read -r _; kill -KILL \"$1\"", "watch", &pid.to_string()]);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().context("starting sh")
}

/// Runs `command` to its end; gives what it printed to standard output. Fails when it does, with what it said, and after
/// `limit`.
pub fn output(command: &mut Command, limit: Duration) -> Result<String> {
    let [out, error] = [tempfile::NamedTempFile::new()?, tempfile::NamedTempFile::new()?];
    let mut child = command.stdin(Stdio::null()).stdout(out.reopen()?).stderr(error.reopen()?).spawn()?;
    let deadline = Instant::now() + limit;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if Instant::now() > deadline {
            child.kill()?;
            child.wait()?;
            bail!("{command:?} has not ended within {limit:?}");
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    let text = |file: &Path| fs::read(file).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    let (out, error) = (text(out.path())?, text(error.path())?);
    ensure!(status.success(), "{command:?} failed ({status}):\n{error}{out}");
    Ok(out)
}

impl Drop for Process {
    fn drop(&mut self) {
        // The watch first: a pid that is waited for may soon be another's. Ended already, there is nothing to kill.
        let _ = self.watch.kill();
        let _ = self.watch.wait();
        let _ = self.kill();
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(30);

    fn sleeper(log: &Path) -> Process {
        Process::spawn("sleep", Command::new("sleep").arg("600"), log).unwrap()
    }

    #[test]
    fn a_child_dies_with_its_owner() {
        let log = tempfile::NamedTempFile::new().unwrap();
        let mut process = sleeper(log.path());
        // What the system does with it when the owner dies.
        drop(process.watch.stdin.take());
        assert_eq!(process.wait(LIMIT).unwrap().signal(), Some(9));
    }

    #[test]
    fn errors_tell_what_was_printed() {
        let log = tempfile::NamedTempFile::new().unwrap();
        let mut broken = Command::new("sh");
        broken.args(["-c", "echo no such disk >&2; exit 3"]);
        let mut process = Process::spawn("broker", &mut broken, log.path()).unwrap();
        let error = process.until(LIMIT, |_| false).unwrap_err().to_string();
        assert!(error.starts_with("broker ended with exit status: 3 before it was ready"), "{error}");
        assert!(error.ends_with("no such disk"), "{error}");
        let error = output(&mut broken, LIMIT).unwrap_err().to_string();
        assert!(error.contains("exit status: 3") && error.contains("no such disk"), "{error}");
    }

    #[test]
    fn waiting_has_a_limit() {
        let log = tempfile::NamedTempFile::new().unwrap();
        let limit = Duration::from_millis(50);
        let error = sleeper(log.path()).wait(limit).unwrap_err().to_string();
        assert!(error.starts_with("sleep has not ended within 50ms"), "{error}");
        let error = output(Command::new("sleep").arg("600"), limit).unwrap_err().to_string();
        assert!(error.ends_with("has not ended within 50ms"), "{error}");
    }

    #[test]
    fn a_stopped_child_stands_still_and_goes_on() {
        let log = tempfile::NamedTempFile::new().unwrap();
        let mut counter = Command::new("sh");
        counter.args(["-c", "while read -r line; do echo $line; done; echo end"]);
        let mut process = Process::spawn("reader", &mut counter, log.path()).unwrap();
        process.signal(Signal::Stop).unwrap();
        process.close_stdin();
        assert!(process.ended().unwrap().is_none());
        assert_eq!(process.output(), "");
        process.signal(Signal::Cont).unwrap();
        process.wait(LIMIT).unwrap();
        assert_eq!(process.output(), "end\n");
    }
}
