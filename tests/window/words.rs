//! The window's words in each language, from the catalogues that it carries.

use anyhow::{Context, Result};
use lanrage_proto::Fault;
use std::collections::BTreeMap;

/// A language that the window speaks.
pub(crate) struct Words {
    /// Its tag.
    pub(crate) language: &'static str,
    texts: BTreeMap<String, String>,
}

impl Words {
    /// Every language.
    pub(crate) fn all() -> Result<Vec<Self>> {
        let catalogues = [
            ("en", include_str!("../../ui/src/lang/en.json")),
            ("de", include_str!("../../ui/src/lang/de.json")),
        ];
        catalogues
            .into_iter()
            .map(|(language, json)| {
                let texts = serde_json::from_str(json).with_context(|| format!("{language}.json"))?;
                Ok(Self { language, texts })
            })
            .collect()
    }

    /// The text of `key`, or what was given where there is no such key.
    pub(crate) fn text(&self, key: &str) -> String {
        self.texts.get(key).map_or(key, String::as_str).to_owned()
    }

    /// The sentence of a fault.
    pub(crate) fn message(&self, fault: &Fault) -> String {
        let template = self.text(&format!("fault.{}.message", fault.code));
        fault.details.iter().fold(template, |text, (name, value)| {
            let why = self.texts.get(&format!("why.{value}"));
            text.replace(&format!("{{{name}}}"), why.unwrap_or(value))
        })
    }
}
