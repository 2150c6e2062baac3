//! The window under WebDriver: WebKitWebDriver starts it, and what a player sees and does goes through it.

use std::env;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use lanrage_tests::lab::PATIENCE;
use serde_json::json;
use thirtyfour::prelude::*;

use crate::desktop;

/// From the window's start to its first screen, as a player would put up with it.
const START: Duration = Duration::from_secs(2);
/// A driver that has no window by then will not get one.
const OPENED: Duration = Duration::from_secs(25);
/// How often a driver may fail to.
const ATTEMPTS: usize = 3;
/// How often the page is looked at.
const EVERY: Duration = Duration::from_millis(50);

/// All that moves and ends has ended or was turned round and ended then, and the last frame is drawn.
const SETTLED: &str = "const settled = () => { const moving = document.getAnimations().filter(each => \
    each.effect.getTiming().iterations !== Infinity && each.playState !== 'finished'); \
    return moving.length === 0 ? true : Promise.allSettled(moving.map(each => each.finished)).then(settled); }; \
    return Promise.resolve(settled()).then(() => \
    new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(true)))));";

/// From a frame that the page has drawn to its being on the display, generously.
const DISPLAY_LAG: Duration = Duration::from_millis(120);

/// How the desktop is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Theme {
    Light,
    Dark,
}

/// The open window. [`Window::close`] ends it; dropping kills what is left.
pub(crate) struct Window {
    page: WebDriver,
    theme: Theme,
    driver: Child,
    program: PathBuf,
    socket: PathBuf,
}

impl Window {
    /// Opens the window on the engine behind `socket`, which need not be there.
    pub(crate) async fn open(socket: &Path, theme: Theme) -> Result<Self> {
        Self::open_with(socket, theme, &[]).await
    }

    /// As [`Window::open`], by a link that was clicked somewhere.
    pub(crate) async fn open_by(socket: &Path, theme: Theme, link: &str) -> Result<Self> {
        Self::start(socket, theme, &[], &[link]).await
    }

    /// As [`Window::open`], with these variables in its environment.
    pub(crate) async fn open_with(socket: &Path, theme: Theme, variables: &[(&str, &Path)]) -> Result<Self> {
        Self::start(socket, theme, variables, &[]).await
    }

    async fn start(
        socket: &Path,
        theme: Theme,
        variables: &[(&str, &Path)],
        arguments: &[&str],
    ) -> Result<Self> {
        let program =
            PathBuf::from(env::var_os("LANRAGE_WINDOW").context("LANRAGE_WINDOW names no program")?);
        let mut last = None;
        for _ in 0..ATTEMPTS {
            match Self::attempt(&program, socket, theme, variables, arguments).await {
                Ok(window) => return Ok(window),
                // On a busy machine the driver loses sight of the app it has just started, and neither ever says so.
                Err(error) => {
                    eprintln!("the driver did not get hold of the window: {error:#}");
                    last = Some(error);
                }
            }
            kill(&processes(&program, socket)?);
        }
        Err(last.unwrap_or_else(|| anyhow!("no attempt")))
    }

    async fn attempt(
        program: &Path,
        socket: &Path,
        theme: Theme,
        variables: &[(&str, &Path)],
        arguments: &[&str],
    ) -> Result<Self> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let mut driver = Command::new("WebKitWebDriver");
        driver
            .arg(format!("--port={port}"))
            .env("TAURI_WEBVIEW_AUTOMATION", "true")
            .env("LANRAGE_SOCKET", socket)
            .envs(variables.iter().copied())
            .stdin(Stdio::null());
        // What the app writes for its user goes where the rest of this desktop's is.
        if let Some(home) = env::var_os("XDG_CONFIG_HOME") {
            driver.env("HOME", home);
        }
        if theme == Theme::Dark {
            driver.env("GTK_THEME", "Adwaita:dark");
        }
        let mut driver = driver.spawn().context("WebKitWebDriver can't be started")?;
        let opened = tokio::time::timeout(OPENED, session(port, program, arguments, &mut driver)).await;
        match opened.unwrap_or_else(|_| Err(anyhow!("no session within {OPENED:?}"))) {
            Ok(page) => Ok(Self {
                page,
                theme,
                driver,
                program: program.to_owned(),
                socket: socket.to_owned(),
            }),
            Err(error) => {
                end(&mut driver);
                Err(error)
            }
        }
    }

    /// The program that is under test.
    pub(crate) fn program(&self) -> &Path {
        &self.program
    }

    /// Waits until the page shows `text`. Returns how long that took.
    pub(crate) async fn shows(&self, text: &str, felt: Duration) -> Result<Duration> {
        self.becomes(text, felt, |page| page.contains(text)).await
    }

    /// Waits until the page's text satisfies `holds`. Returns how long that took.
    pub(crate) async fn becomes(
        &self,
        what: &str,
        felt: Duration,
        holds: impl Fn(&str) -> bool,
    ) -> Result<Duration> {
        let started = Instant::now();
        loop {
            let text = self.text().await?;
            if holds(&text) {
                return Ok(started.elapsed());
            }
            ensure!(
                started.elapsed() < felt * PATIENCE,
                "the window never came to {what:?}; it shows:\n{text}"
            );
            tokio::time::sleep(EVERY).await;
        }
    }

    /// What the page says. WebDriver's own notion of text leaves out what is shortened by dots.
    pub(crate) async fn text(&self) -> Result<String> {
        let text = self.evaluate("return document.body.innerText;").await?;
        Ok(text.as_str().unwrap_or_default().to_owned())
    }

    /// The text of the row that starts with `name`.
    pub(crate) async fn row(&self, name: &str) -> Result<String> {
        let rows = self
            .evaluate("return [...document.querySelectorAll('li')].map(row => row.innerText.trim());")
            .await?;
        let rows: Vec<String> = serde_json::from_value(rows)?;
        rows.into_iter()
            .find(|row| row.starts_with(name))
            .with_context(|| format!("no row of {name}"))
    }

    /// Presses the button with this text or label.
    pub(crate) async fn press(&self, name: &str) -> Result<()> {
        let path = format!("//button[normalize-space()='{name}' or @aria-label='{name}']");
        let button = self.page.find(By::XPath(path)).await;
        button
            .with_context(|| format!("no button {name:?}"))?
            .click()
            .await?;
        Ok(())
    }

    async fn field(&self, label: &str) -> Result<WebElement> {
        let path = format!("//input[@id=//label[normalize-space()='{label}']/@for]");
        let field = self.page.find(By::XPath(path)).await;
        field.with_context(|| format!("no field {label:?}"))
    }

    /// Turns the switch with this label on or off.
    pub(crate) async fn switch(&self, label: &str) -> Result<()> {
        self.field(label).await?.click().await?;
        Ok(())
    }

    /// What the field with this label holds.
    pub(crate) async fn value(&self, label: &str) -> Result<String> {
        Ok(self.field(label).await?.value().await?.unwrap_or_default())
    }

    /// Replaces what the field with this label holds by `text`.
    pub(crate) async fn fill(&self, label: &str, text: &str) -> Result<()> {
        let field = self.field(label).await?;
        field.clear().await?;
        field.send_keys(text).await?;
        Ok(())
    }

    /// Replaces what the field with this id holds by `text`.
    pub(crate) async fn fill_id(&self, id: &str, text: &str) -> Result<()> {
        let field = self.page.find(By::Id(id)).await;
        let field = field.with_context(|| format!("no field {id:?}"))?;
        field.clear().await?;
        field.send_keys(text).await?;
        Ok(())
    }

    /// Clicks the first thing that this CSS selector finds.
    pub(crate) async fn click(&self, selector: &str) -> Result<()> {
        let wanted = self.page.find(By::Css(selector)).await;
        wanted
            .with_context(|| format!("nothing is {selector}"))?
            .click()
            .await?;
        Ok(())
    }

    /// Opens or closes the details of the member whose name starts so.
    pub(crate) async fn unfold(&self, name: &str) -> Result<()> {
        let path = format!("//li//button[@aria-expanded][starts-with(normalize-space(), '{name}')]");
        let row = self.page.find(By::XPath(path)).await;
        row.with_context(|| format!("no row of {name}"))?.click().await?;
        Ok(())
    }

    /// Presses keys, as WebDriver writes them.
    pub(crate) async fn keys(&self, keys: impl Into<TypingData>) -> Result<()> {
        let focused = self.page.active_element().await?;
        focused.send_keys(keys).await?;
        Ok(())
    }

    /// What the focus is on: a button's name or a field's label.
    pub(crate) async fn focus(&self) -> Result<String> {
        let name = "const at = document.activeElement;\
                    return (at.getAttribute('aria-label') ?? at.labels?.[0]?.textContent ?? at.textContent)\
                    .replace(/\\s+/g, ' ').trim();";
        Ok(self
            .evaluate(name)
            .await?
            .as_str()
            .unwrap_or_default()
            .trim()
            .to_owned())
    }

    /// Makes the window this large, in pixels.
    pub(crate) async fn resize(&self, width: u32, height: u32) -> Result<()> {
        self.page.set_window_rect(0, 0, width, height).await?;
        let started = Instant::now();
        while self.evaluate("return innerWidth;").await? != width {
            ensure!(
                started.elapsed() < START * PATIENCE,
                "the window never got {width} px wide"
            );
            tokio::time::sleep(EVERY).await;
        }
        Ok(())
    }

    /// What a script of the page finds; for what only the page itself can tell.
    pub(crate) async fn evaluate(&self, script: &str) -> Result<serde_json::Value> {
        Ok(self.page.execute(script, vec![]).await?.json().clone())
    }

    /// Waits until nothing moves that ends.
    pub(crate) async fn settles(&self) -> Result<()> {
        self.evaluate(SETTLED).await.map(drop)
    }

    /// Leaves a picture of the window in `target/window-pictures`.
    pub(crate) async fn picture(&self, name: &str) -> Result<()> {
        let theme = format!("{:?}", self.theme).to_lowercase();
        let status = self.snapshot(&format!("{name}-{theme}")).await?.wait()?;
        ensure!(status.success(), "the picture could not be written: {status}");
        Ok(())
    }

    /// As [`Window::picture`], under just this name. Returns the program that still writes it. WebDriver's own pictures
    /// never come where the processor paints the page, so it is what the display shows.
    pub(crate) async fn snapshot(&self, name: &str) -> Result<Child> {
        self.settles().await?;
        tokio::time::sleep(DISPLAY_LAG).await;
        desktop::photograph(&pictures()?.join(format!("{name}.png")))
    }

    /// Closes the window and waits until its process is gone: the next one must not take it for a running first.
    pub(crate) async fn close(self) -> Result<()> {
        self.page.clone().quit().await?;
        self.is_gone().await
    }

    /// Waits until the app has ended.
    pub(crate) async fn is_gone(&self) -> Result<()> {
        let started = Instant::now();
        while !self.processes()?.is_empty() {
            ensure!(started.elapsed() < START * PATIENCE, "the app does not end");
            tokio::time::sleep(EVERY).await;
        }
        Ok(())
    }

    fn processes(&self) -> Result<Vec<i32>> {
        processes(&self.program, &self.socket)
    }
}

/// The app's processes: those of its program that were told this window's socket.
fn processes(program: &Path, socket: &Path) -> Result<Vec<i32>> {
    let program = program.canonicalize()?;
    let told = format!("LANRAGE_SOCKET={}", socket.display());
    let ours = |process: &Path| {
        fs::read_link(process.join("exe")).is_ok_and(|exe| exe == program)
            && fs::read(process.join("environ")).is_ok_and(|values| {
                values
                    .split(|byte| *byte == 0)
                    .any(|value| value == told.as_bytes())
            })
    };
    let processes = fs::read_dir("/proc")?
        .flatten()
        .filter(|process| ours(&process.path()));
    Ok(processes
        .filter_map(|process| process.file_name().to_str()?.parse().ok())
        .collect())
}

fn kill(processes: &[i32]) {
    for process in processes
        .iter()
        .filter_map(|process| rustix::process::Pid::from_raw(*process))
    {
        let _ = rustix::process::kill_process(process, rustix::process::Signal::KILL);
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        // The page would ask the driver, which is gone then, to quit, and wait for the answer. After a close it has.
        let _ = self.page.clone().leak();
        end(&mut self.driver);
        // Only after a failure, or when a test ended the app on purpose: the next test wants to start the first one.
        kill(&self.processes().unwrap_or_default());
    }
}

/// Waits for the driver and lets it open the window.
async fn session(port: u16, program: &Path, arguments: &[&str], driver: &mut Child) -> Result<WebDriver> {
    let mut capabilities = Capabilities::new();
    capabilities.set(
        "webkitgtk:browserOptions",
        json!({ "binary": program, "args": arguments }),
    )?;
    let url = format!("http://127.0.0.1:{port}");
    let started = Instant::now();
    loop {
        if let Some(status) = driver.try_wait()? {
            bail!("WebKitWebDriver ended: {status}");
        }
        match WebDriver::new(&url, capabilities.clone()).await {
            Ok(page) => return Ok(page),
            Err(error) if started.elapsed() > START * PATIENCE => {
                return Err(error).context("no window");
            }
            Err(_) => tokio::time::sleep(EVERY).await,
        }
    }
}

fn end(child: &mut Child) {
    // Fails only for a child that has ended, which is what is wanted.
    let _ = child.kill();
    let _ = child.wait();
}

/// `target/window-pictures`, beside this test's own profile directory.
fn pictures() -> Result<PathBuf> {
    let own = env::current_exe()?;
    let target = own
        .ancestors()
        .nth(3)
        .context("this test lies in no target directory")?;
    let folder = target.join("window-pictures");
    fs::create_dir_all(&folder)?;
    Ok(folder)
}
