//! The tray's and the notifications' words, from the catalogues that the page uses too.

use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};

// Every ui/src/lang/*.json by its name, found at build time: `LANGUAGES`.
include!(concat!(env!("OUT_DIR"), "/languages.rs"));

/// What the app speaks where it does not speak the system's language, and what fills the gaps of the others.
const FALLBACK: &str = "en";

type Catalogue = BTreeMap<String, String>;

// A catalogue that can't be read would be a mistake at build time, which a test below catches.
static CATALOGUES: LazyLock<Vec<Catalogue>> = LazyLock::new(|| {
    let read = |(_, text): &(&str, &str)| serde_json::from_str(text).unwrap_or_default();
    LANGUAGES.iter().map(read).collect()
});

/// The place in [`LANGUAGES`] of what is spoken; past its end it is [`FALLBACK`].
static SPOKEN: AtomicUsize = AtomicUsize::new(usize::MAX);

/// The languages there are.
pub(crate) fn languages() -> Vec<String> {
    LANGUAGES.iter().map(|(name, _)| (*name).to_owned()).collect()
}

/// Speaks this language from now on, or the nearest to it that there is: `de-AT` is told in `de`.
pub(crate) fn speak(language: &str) {
    SPOKEN.store(place(language), Ordering::Relaxed);
}

/// The language that the user's environment asks for (POSIX: the first of these that is set); none where it does not say.
pub(crate) fn of_system() -> Option<String> {
    let variables = ["LANGUAGE", "LC_ALL", "LC_MESSAGES", "LANG"];
    let set = variables
        .into_iter()
        .find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()))?;
    // `de_AT.UTF-8`, or a list of such.
    set.split([':', '.', '@']).next().map(str::to_owned)
}

fn place(language: &str) -> usize {
    let wanted = language.replace('_', "-").to_lowercase();
    let short = wanted.split('-').next().unwrap_or_default().to_owned();
    let named = |wanted: &str| {
        LANGUAGES
            .iter()
            .position(|(name, _)| name.to_lowercase() == wanted)
    };
    named(&wanted).or_else(|| named(&short)).unwrap_or(usize::MAX)
}

fn template(key: &str) -> Option<&'static str> {
    let spoken = CATALOGUES.get(SPOKEN.load(Ordering::Relaxed));
    let found = spoken.and_then(|catalogue| catalogue.get(key));
    let fallback = || CATALOGUES.get(place(FALLBACK))?.get(key);
    found.or_else(fallback).map(String::as_str)
}

/// The text of `key` with its `{name}`s filled in; the key itself where there is no text.
pub(crate) fn text(key: &str, values: &[(&str, &str)]) -> String {
    let template = template(key).unwrap_or(key);
    let mut out = String::with_capacity(template.len());
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        out.push_str(before);
        let Some((name, behind)) = after.split_once('}') else {
            rest = &rest[before.len()..];
            break;
        };
        let value = values.iter().find(|(known, _)| *known == name);
        out.push_str(value.map_or("?", |(_, value)| value));
        rest = behind;
    }
    out.push_str(rest);
    out
}

/// As [`text`], for a number of things: `key.one` or `key.other`, with the number as `{count}`.
pub(crate) fn counted(key: &str, count: usize) -> String {
    let form = if count == 1 { "one" } else { "other" };
    text(&format!("{key}.{form}"), &[("count", &count.to_string())])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_filled_in_and_what_is_missing_shows() {
        assert_eq!(counted("verdict.players", 1), "1 player");
        assert_eq!(counted("verdict.players", 4), "4 players");
        assert_eq!(text("enter.creating", &[("party", "{x}")]), "Creating {x}");
        assert_eq!(text("enter.creating", &[]), "Creating ?");
        assert_eq!(text("no.such.text", &[]), "no.such.text");
    }

    #[test]
    fn every_catalogue_can_be_read_and_the_nearest_is_taken() {
        assert!(CATALOGUES.iter().all(|catalogue| !catalogue.is_empty()));
        assert_eq!(LANGUAGES[place("en")].0, FALLBACK);
        assert_eq!(place("en_GB"), place("en"));
        assert_eq!(place("tlh"), usize::MAX);
    }
}
