//! A picture of every state, from the scripted engine, in both themes and every language, each looked over by axe.

use std::fs;
use std::path::Path;
use std::process::Child;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lanrage_proto::{Fault, FaultCode};
use lanrage_tests::scripted::scenes::{ID, Scene};
use lanrage_tests::scripted::{Scripted, scenes};

use crate::browser::{Theme, Window};
use crate::clipboard;
use crate::words::Words;

/// From a change in the engine to its being on the screen.
const SHOWN: Duration = Duration::from_secs(1);

/// From an engine that answers again to the window's knowing it: it asks every two seconds at least.
const BACK: Duration = Duration::from_secs(3);

/// A text, or the key of one, by which each scene is known to be on the screen; the others are known by their fault.
const TELLTALES: [(&str, &str); 23] = [
    ("idle", "start.create.button"),
    ("creating", "enter.step.local.create"),
    ("joining", "enter.joining.unnamed"),
    ("alone", "party.waiting"),
    ("connecting", "member.state.connecting"),
    ("direct", "Ben"),
    ("lan", "verdict.all_lan.one"),
    ("relayed", "verdict.all_relayed.one"),
    ("degraded", "8 %"),
    ("lost", "member.state.lost"),
    ("left", "member.state.disconnected"),
    ("failed", "member.state.failed"),
    ("mixed", "member.unnamed"),
    ("crowd", "Leo"),
    ("long-names", "xxxx"),
    ("another-user", "party.private"),
    ("lobby", "lobby.sees.all"),
    ("lobby-mixed", "Ana"),
    ("lobby-heard", "OpenArena"),
    ("shared-files", "rules.files"),
    ("shared-everything", "rules.everything"),
    ("resumed", "member.trouble.silent"),
    ("restored", "member.state.connecting"),
];

/// The scenes that also have a picture in the smallest window and in a wide one.
const SHAPED: [&str; 9] = [
    "idle",
    "creating",
    "mixed",
    "crowd",
    "long-names",
    "lobby-mixed",
    "shared-everything",
    "liar",
    "engine-stopped",
];

/// What axe looks for: WCAG up to 2.2 AA, and what its authors call good practice.
const LOOK: &str = "return axe.run(document, { preload: false, resultTypes: ['violations'], runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', \
    'wcag21aa', 'wcag22aa', 'best-practice'] }).then(({ violations }) => violations.map(({ id, nodes }) => \
    id + ': ' + nodes.map(({ html, failureSummary }) => html.slice(0, 160) + ' ' + failureSummary).join(' | ')));";

/// An open window in a theme and a language, and how to judge what it shows.
struct Gallery<'a> {
    window: &'a Window,
    engine: &'a Scripted,
    words: &'a Words,
    theme: &'static str,
    findings: Vec<String>,
    being_written: Vec<Child>,
}

impl Gallery<'_> {
    /// Shows a scene and waits until it is on the screen.
    async fn enter(&self, name: &str, scene: &Scene) -> Result<()> {
        self.engine.stage(scene);
        if matches!(scene, Scene::Refuses(_)) {
            self.window
                .shows(&self.words.text("start.create.button"), BACK)
                .await?;
            self.press("start.join.open").await?;
            self.fill("invite", ID).await?;
            self.press("start.join.button").await?;
        }
        let telltale = match (scene.fault(), TELLTALES.iter().find(|(known, _)| *known == name)) {
            (_, Some((_, key))) => self.words.text(key),
            (Some(fault), None) => self.words.message(fault),
            (None, None) => anyhow::bail!("scene {name} has no telltale"),
        };
        self.window.shows(&telltale, BACK).await?;
        Ok(())
    }

    /// Back to where the next scene begins.
    async fn leave(&self, scene: &Scene) -> Result<()> {
        match scene {
            Scene::Shows(_) => Ok(()),
            Scene::Refuses(_) => self.press("start.join.back").await,
            Scene::Away(_) => {
                self.engine.show(scenes::idle());
                self.window
                    .shows(&self.words.text("start.create.button"), BACK)
                    .await?;
                Ok(())
            }
        }
    }

    async fn press(&self, key: &str) -> Result<()> {
        self.window.press(&self.words.text(key)).await
    }

    async fn fill(&self, field: &str, text: &str) -> Result<()> {
        self.window.fill_id(field, text).await
    }

    /// Takes the picture, and notes what is cut off or what axe finds.
    async fn show(&mut self, name: &str) -> Result<()> {
        self.window.settles().await?;
        let here = format!("{name} ({}, {})", self.theme, self.words.language);
        let overflow = self
            .window
            .evaluate("return document.documentElement.scrollWidth - document.documentElement.clientWidth;")
            .await?;
        if overflow != 0 {
            self.findings.push(format!("{here} is {overflow} px too wide"));
        }
        let found = self.window.evaluate(LOOK).await?;
        for finding in found.as_array().context("axe did not answer")? {
            self.findings.push(format!("{here}: {finding}"));
        }
        let name = format!("{name}-{}-{}", self.theme, self.words.language);
        self.being_written.push(self.window.snapshot(&name).await?);
        Ok(())
    }

    /// Waits for the pictures and returns what was found.
    fn close(self) -> Result<Vec<String>> {
        for mut picture in self.being_written {
            let status = picture.wait()?;
            ensure!(status.success(), "a picture could not be written: {status}");
        }
        Ok(self.findings)
    }

    /// Every screen that no scene of the engine alone brings up.
    async fn screens(&mut self) -> Result<()> {
        self.engine.show(scenes::idle());
        self.window
            .shows(&self.words.text("start.create.button"), SHOWN)
            .await?;
        self.press("start.join.open").await?;
        self.window
            .shows(&self.words.text("start.join.field"), SHOWN)
            .await?;
        self.show("join-form").await?;
        self.press("start.join.back").await?;

        self.engine.show(scenes::mixed());
        self.window.shows("Kim", SHOWN).await?;
        self.press("party.share").await?;
        self.window.shows(&self.words.text("share.title"), SHOWN).await?;
        self.press("share.copy.message").await?;
        self.window.shows(&self.words.text("party.copied"), SHOWN).await?;
        self.show("share").await?;
        self.press("party.share").await?;
        self.window.unfold("Maximilian").await?;
        self.window
            .shows(&self.words.text("detail.trouble.loss"), SHOWN)
            .await?;
        self.press("detail.ways").await?;
        self.window
            .shows(&self.words.text("doctor.expected.direct"), SHOWN)
            .await?;
        self.show("details").await?;
        self.window.unfold("Maximilian").await?;

        self.lobbies().await?;

        self.engine.show(scenes::direct());
        self.window.shows("Ben", SHOWN).await?;
        self.press("party.leave").await?;
        self.window
            .shows(&self.words.text("party.end.question"), SHOWN)
            .await?;
        self.show("leave-question").await?;
        self.press("party.stay").await?;

        self.press("menu.settings").await?;
        self.window
            .shows(&self.words.text("settings.connection"), SHOWN)
            .await?;
        self.show("settings").await?;
        self.scroll_down().await?;
        self.show("settings-end").await?;

        self.press("menu.diagnostics").await?;
        self.window
            .shows(&self.words.text("doctor.network"), SHOWN)
            .await?;
        self.show("diagnostics").await?;
        self.press("doctor.log.show").await?;
        self.window
            .shows(&self.words.text("doctor.log.hide"), SHOWN)
            .await?;
        self.scroll_down().await?;
        self.show("diagnostics-end").await?;
        self.press("menu.back").await?;
        self.window
            .shows(&self.words.text("settings.title"), SHOWN)
            .await?;
        self.press("menu.back").await
    }

    /// What lies below the members of a party.
    async fn lobbies(&mut self) -> Result<()> {
        for (name, status, telltale) in [
            ("lobby-all-end", scenes::seen_by_all(), "lobby.sees.all"),
            ("lobby-mixed-end", scenes::seen_by_some(), "Ana"),
            ("lobby-heard-end", scenes::heard(), "OpenArena"),
        ] {
            self.engine.show(status);
            self.window.shows(&self.words.text(telltale), SHOWN).await?;
            self.scroll_party_down().await?;
            self.show(name).await?;
        }
        // By the switches, as a player does it.
        self.engine.show(scenes::direct());
        self.window
            .shows(&self.words.text("rules.nothing"), SHOWN)
            .await?;
        self.window.switch(&self.words.text("rules.share.files")).await?;
        self.window.shows(&self.words.text("rules.files"), SHOWN).await?;
        self.press("rules.more").await?;
        self.window
            .switch(&self.words.text("rules.share.everything"))
            .await?;
        self.window
            .shows(&self.words.text("rules.everything"), SHOWN)
            .await?;
        self.window.switch(&self.words.text("rules.multicast")).await?;
        self.window
            .shows(&self.words.text("rules.multicast.off"), SHOWN)
            .await?;
        self.scroll_party_down().await?;
        self.show("rules").await?;
        self.press("rules.more").await
    }

    /// To the end of a party that is longer than the window.
    async fn scroll_party_down(&self) -> Result<()> {
        let down = "const list = document.querySelector('.scroll'); list.scrollTo(0, list.scrollHeight);";
        self.window.evaluate(down).await?;
        Ok(())
    }

    /// To the end of a screen that is longer than the window.
    async fn scroll_down(&self) -> Result<()> {
        self.window
            .evaluate("scrollTo(0, document.body.scrollHeight);")
            .await?;
        Ok(())
    }
}

/// The look of the window is chosen as a player does it.
async fn choose(window: &Window, words: &Words, theme: &str) -> Result<()> {
    // The page speaks whatever was chosen last.
    window.click("button.sign[aria-label]").await?;
    for (name, value) in [("theme", theme), ("language", words.language)] {
        window
            .click(&format!("label:has(input[name={name}][value={value}])"))
            .await?;
    }
    window
        .shows(&words.text("settings.language.system"), SHOWN)
        .await?;
    window.press(&words.text("menu.back")).await
}

/// The page's own copy of axe, as npm has put it.
fn axe() -> Result<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../ui/node_modules/axe-core/axe.min.js");
    fs::read_to_string(&path).with_context(|| format!("{}: run npm ci in ui", path.display()))
}

#[tokio::test]
async fn every_state_has_its_picture_in_both_themes_and_languages_and_axe_finds_nothing() -> Result<()> {
    let place = tempfile::tempdir()?;
    let socket = place.path().join("engine.sock");
    let engine = Scripted::start(&socket)?;
    let window = Window::open(&socket, Theme::Light).await?;
    window.shows("LANrage", SHOWN).await?;
    window.evaluate(&axe()?).await?;
    let mut findings = Vec::new();
    for words in Words::all()? {
        for theme in ["light", "dark"] {
            engine.show(scenes::idle());
            window.shows("LANrage", SHOWN).await?;
            choose(&window, &words, theme).await?;
            let mut gallery = Gallery {
                window: &window,
                engine: &engine,
                words: &words,
                theme,
                findings: Vec::new(),
                being_written: Vec::new(),
            };
            for (name, scene) in scenes::all() {
                gallery.enter(name, &scene).await?;
                gallery.show(&format!("scene-{name}")).await?;
                gallery.leave(&scene).await?;
            }
            gallery.screens().await?;
            findings.append(&mut gallery.close()?);
        }
    }
    window.close().await?;
    ensure!(findings.is_empty(), "{}", findings.join("\n"));
    Ok(())
}

#[tokio::test]
async fn no_state_overflows_a_small_or_a_wide_window() -> Result<()> {
    let place = tempfile::tempdir()?;
    let socket = place.path().join("engine.sock");
    let engine = Scripted::start(&socket)?;
    let window = Window::open(&socket, Theme::Light).await?;
    window.shows("LANrage", SHOWN).await?;
    window.evaluate(&axe()?).await?;
    let languages = Words::all()?;
    let mut findings = Vec::new();
    // German has the longer words.
    let words = languages.last().context("no language")?;
    choose(&window, words, "dark").await?;
    for (width, height, shape) in [(340, 480, "small"), (1000, 680, "wide")] {
        window.resize(width, height).await?;
        let mut gallery = Gallery {
            window: &window,
            engine: &engine,
            words,
            theme: "dark",
            findings: Vec::new(),
            being_written: Vec::new(),
        };
        for (name, scene) in scenes::all() {
            if !SHAPED.contains(&name) {
                continue;
            }
            gallery.enter(name, &scene).await?;
            gallery.show(&format!("{shape}-{name}")).await?;
            gallery.leave(&scene).await?;
        }
        findings.append(&mut gallery.close()?);
    }
    window.close().await?;
    ensure!(findings.is_empty(), "{}", findings.join("\n"));
    Ok(())
}

#[tokio::test]
async fn an_invite_on_the_clipboard_is_offered_when_the_window_opens_and_joins_at_a_click() -> Result<()> {
    let place = tempfile::tempdir()?;
    let socket = place.path().join("engine.sock");
    let engine = Scripted::start(&socket)?;
    let invite = format!("lanrage://join/{ID}?via=192.168.1.5:51820");
    let _friend = clipboard::Owner::holding(&format!("tonight at 8? {invite} :)"))?;
    let window = Window::open(&socket, Theme::Light).await?;
    window.shows("An invite is on your clipboard", SHOWN).await?;
    window
        .shows("Joining connects to 192.168.1.5:51820.", SHOWN)
        .await?;
    window.picture("offer-from-clipboard").await?;
    ensure!(engine.status().party.is_none(), "it joined without being told to");
    window.press("Join this party").await?;
    window.shows("Finding the party", SHOWN).await?;
    window.close().await
}

#[tokio::test]
async fn a_create_can_be_cancelled_and_a_refusal_says_what_helps() -> Result<()> {
    let place = tempfile::tempdir()?;
    let socket = place.path().join("engine.sock");
    let engine = Scripted::start(&socket)?;
    let window = Window::open(&socket, Theme::Light).await?;
    window.shows("Create a party", SHOWN).await?;

    window.press("Create a party").await?;
    window.shows("Opening the party on this computer", SHOWN).await?;
    window.press("Cancel").await?;
    window.shows("Join with an ID", SHOWN).await?;
    let text = window.text().await?;
    ensure!(
        !text.contains("Something failed"),
        "a cancel is shown as a failure:\n{text}"
    );

    window.fill("Your name", &"x".repeat(200)).await?;
    window.press("Create a party").await?;
    window.shows("This player name can't be used", SHOWN).await?;
    window.picture("refused-name").await?;

    window.fill("Your name", "Anna").await?;
    engine.refuse(
        Fault::new(FaultCode::AddressClash)
            .with("network", "10.66.1.0/24")
            .with("interface", "br-1"),
    );
    window.press("Create a party").await?;
    window
        .shows("already used by the network 10.66.1.0/24 on br-1", SHOWN)
        .await?;
    window.close().await
}
