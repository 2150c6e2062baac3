//! The tray's words, from the catalogue that the page uses too.

use std::collections::BTreeMap;
use std::sync::LazyLock;

// A catalogue that can't be read would be a mistake at build time, which a test below catches.
static TEXTS: LazyLock<BTreeMap<String, String>> =
    LazyLock::new(|| serde_json::from_str(include_str!("../../ui/src/lang/en.json")).unwrap_or_default());

/// The text of `key` with its `{name}`s filled in; the key itself where there is no text.
pub(crate) fn text(key: &str, values: &[(&str, &str)]) -> String {
    let template = TEXTS.get(key).map_or(key, String::as_str);
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
}
