//! A real browser without a window: Chromium, by the DevTools protocol.

use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use data_encoding::BASE64;
use serde_json::{Value, json};
use tempfile::TempDir;
use tungstenite::{Message, WebSocket};

use crate::process::Process;

/// A browser that has not started, or not answered, by then never will.
const LIMIT: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(50);

/// A browser with one tab.
pub struct Browser {
    socket: WebSocket<TcpStream>,
    session: String,
    calls: u64,
    /// What came of pages since it was last asked for.
    events: Vec<Value>,
    _process: Process,
    _profile: TempDir,
}

/// How a page is looked at.
#[derive(Clone, Copy, Debug)]
pub struct Screen {
    /// CSS pixels.
    pub width: u32,
    /// CSS pixels.
    pub height: u32,
    /// By who prefers dark colours.
    pub dark: bool,
    /// On a phone.
    pub mobile: bool,
}

impl Browser {
    /// Starts Chromium (`cargo xtask servers` installs it).
    pub fn start() -> Result<Self> {
        let profile = tempfile::Builder::new().prefix("epicenter-browser-").tempdir()?;
        let mut command = Command::new("chromium");
        command.args([
            "--headless",
            // In a container, where tests run as root.
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--disable-background-networking",
            "--disable-component-update",
            "--no-first-run",
            "--no-proxy-server",
            "--hide-scrollbars",
            "--remote-debugging-port=0",
        ]);
        command.arg(format!("--user-data-dir={}", profile.path().join("profile").display())).arg("about:blank");
        let log = profile.path().join("log");
        let started = Process::spawn("chromium", &mut command, &log);
        let mut process =
            started.context("Chromium is missing: run `cargo xtask servers`, or `apt-get install chromium`")?;
        const SAID: &str = "DevTools listening on ";
        process.until(LIMIT, |output| output.lines().any(|line| line.contains(SAID)))?;
        let address =
            process.output().lines().find_map(|line| line.split_once(SAID).map(|(_, at)| at.trim().to_owned()));
        let address = address.context("Chromium told no address")?;
        let host = address.strip_prefix("ws://").and_then(|rest| rest.split('/').next()).context("an odd address")?;
        let stream = TcpStream::connect(host)?;
        stream.set_read_timeout(Some(LIMIT))?;
        let (socket, _) = tungstenite::client(&address, stream)?;
        let (session, events) = (String::new(), Vec::new());
        let mut browser = Self { socket, session, calls: 0, events, _process: process, _profile: profile };
        let target = browser.call("Target.createTarget", json!({"url": "about:blank"}))?["targetId"].clone();
        let attached = browser.call("Target.attachToTarget", json!({"targetId": target, "flatten": true}))?;
        browser.session = attached["sessionId"].as_str().context("no session")?.to_owned();
        for domain in ["Page.enable", "Runtime.enable", "Log.enable", "Network.enable"] {
            browser.call(domain, json!({}))?;
        }
        Ok(browser)
    }

    /// Looks at pages so from now on.
    pub fn look(&mut self, screen: Screen) -> Result<()> {
        let Screen { width, height, dark, mobile } = screen;
        let metrics = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": mobile});
        self.call("Emulation.setDeviceMetricsOverride", metrics)?;
        let scheme = if dark { "dark" } else { "light" };
        let features = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        self.call("Emulation.setEmulatedMedia", features).map(drop)
    }

    /// Runs scripts of pages, or does not.
    pub fn scripts(&mut self, run: bool) -> Result<()> {
        self.call("Emulation.setScriptExecutionDisabled", json!({"value": !run})).map(drop)
    }

    /// Opens a page, and waits until it is loaded.
    pub fn open(&mut self, address: &str) -> Result<()> {
        self.events.retain(|event| event["method"] != "Page.loadEventFired");
        let answer = self.call("Page.navigate", json!({"url": address}))?;
        ensure!(answer["errorText"].is_null(), "{address}: {}", answer["errorText"]);
        self.loaded()
    }

    /// Waits until the next page is loaded.
    pub fn loaded(&mut self) -> Result<()> {
        while !self.events.iter().any(|event| event["method"] == "Page.loadEventFired") {
            let event = self.read()?;
            self.events.push(event);
        }
        self.events.retain(|event| event["method"] != "Page.loadEventFired");
        Ok(())
    }

    /// The value of an expression in the page.
    pub fn eval(&mut self, expression: &str) -> Result<Value> {
        let asked = json!({"expression": expression, "returnByValue": true, "awaitPromise": true});
        let answer = self.call("Runtime.evaluate", asked)?;
        ensure!(answer["exceptionDetails"].is_null(), "{expression}: {}", answer["exceptionDetails"]);
        Ok(answer["result"]["value"].clone())
    }

    /// Waits until an expression in the page is true.
    pub fn until(&mut self, expression: &str) -> Result<()> {
        let deadline = Instant::now() + LIMIT;
        while self.eval(expression)? != true {
            if Instant::now() > deadline {
                let shown = self.eval("document.body.innerText")?;
                bail!("{expression} does not become true in\n{}", shown.as_str().unwrap_or_default());
            }
            std::thread::sleep(LOOK);
        }
        Ok(())
    }

    /// The whole page as a PNG.
    pub fn screenshot(&mut self) -> Result<Vec<u8>> {
        let size = self.call("Page.getLayoutMetrics", json!({}))?["cssContentSize"].clone();
        let clip = json!({"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1});
        let shot = self.call("Page.captureScreenshot", json!({"clip": clip, "captureBeyondViewport": true}))?;
        Ok(BASE64.decode(shot["data"].as_str().context("no picture")?.as_bytes())?)
    }

    /// The same, in a file.
    pub fn screenshot_to(&mut self, file: &Path) -> Result<()> {
        let picture = self.screenshot()?;
        std::fs::write(file, picture).with_context(|| format!("writing {}", file.display()))
    }

    /// What pages complained of since it was last asked: errors and warnings on the console, errors in scripts, what was refused.
    pub fn complaints(&mut self) -> Vec<String> {
        let complaint = |event: &Value| {
            let what = &event["params"];
            match event["method"].as_str()? {
                "Runtime.exceptionThrown" => Some(what["exceptionDetails"].to_string()),
                "Runtime.consoleAPICalled" if ["error", "warning", "assert"].contains(&what["type"].as_str()?) => {
                    Some(what["args"].to_string())
                }
                "Log.entryAdded" if ["error", "warning"].contains(&what["entry"]["level"].as_str()?) => {
                    Some(format!("{} {}", what["entry"]["text"], what["entry"]["url"]))
                }
                _ => None,
            }
        };
        std::mem::take(&mut self.events).iter().filter_map(complaint).collect()
    }

    fn call(&mut self, method: &str, params: Value) -> Result<Value> {
        self.calls += 1;
        let id = self.calls;
        let mut message = json!({"id": id, "method": method, "params": params});
        if !self.session.is_empty() {
            message["sessionId"] = json!(self.session);
        }
        self.socket.send(Message::text(message.to_string()))?;
        loop {
            let answer = self.read().with_context(|| format!("{method} is not answered"))?;
            if answer["id"] == id {
                ensure!(answer["error"].is_null(), "{method}: {}", answer["error"]);
                return Ok(answer["result"].clone());
            }
            self.events.push(answer);
        }
    }

    fn read(&mut self) -> Result<Value> {
        loop {
            if let Message::Text(text) = self.socket.read()? {
                return Ok(serde_json::from_str(&text)?);
            }
        }
    }
}
