//! On whose behalf this process runs.

/// The login name of the person at the keyboard, for a first guess at a player's name: who called `sudo`, else
/// the current user. `None` when the environment doesn't say, or says only `root`.
pub fn current_user_name() -> Option<String> {
    choose(|name| std::env::var(name).ok())
}

fn choose(variable: impl Fn(&str) -> Option<String>) -> Option<String> {
    ["SUDO_USER", "USER", "LOGNAME", "USERNAME"]
        .into_iter()
        .filter_map(variable)
        .map(|name| name.trim().to_owned())
        .find(|name| !name.is_empty() && name != "root")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_caller_of_sudo_is_preferred_and_root_is_nobody() {
        let with = |pairs: &'static [(&str, &str)]| {
            choose(move |name| {
                pairs
                    .iter()
                    .find(|(key, _)| *key == name)
                    .map(|(_, value)| (*value).to_owned())
            })
        };
        assert_eq!(
            with(&[("USER", "root"), ("SUDO_USER", "anna")]).as_deref(),
            Some("anna")
        );
        assert_eq!(with(&[("USER", "tom ")]).as_deref(), Some("tom"));
        assert_eq!(with(&[("USER", "root"), ("LOGNAME", " ")]), None);
        assert_eq!(with(&[]), None);
    }
}
