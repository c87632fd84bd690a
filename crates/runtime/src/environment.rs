//! Environment variables that look as if they were meant for a program and that it does not read.
//!
//! A file with an unknown key is refused, and so is an unknown flag. The environment is shared with every other program, so
//! nothing in it can be refused; but a variable that begins as all of a program's do, and is none of them, is most likely
//! misspelt, and its owner believes that it works.

use std::collections::BTreeMap;
use std::fmt;

use clap::Command;

/// What a program reads from its environment.
#[derive(Debug)]
pub struct Variables<'a> {
    /// How the names of its variables begin, such as `COFIDE_CONNECT_`. Some may begin otherwise.
    pub prefix: &'a str,
    /// Names that begin the same and belong to other programs.
    pub of_others: &'a [&'a str],
    /// Name by key of the configuration, in capitals.
    pub known: BTreeMap<String, String>,
}

/// A variable that is set and not read.
#[derive(Debug, PartialEq, Eq)]
pub struct Unread {
    pub name: String,
    /// What was probably meant.
    pub meant: Option<String>,
}

impl fmt::Display for Unread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, meant } = self;
        write!(f, "the environment variable {name} is not known and has no effect")?;
        meant.as_ref().map_or(Ok(()), |meant| write!(f, "; did you mean {meant}?"))
    }
}

/// The variables of the arguments of a command, by the arguments' names in capitals.
pub fn of_command(command: &Command) -> impl Iterator<Item = (String, String)> {
    command.get_arguments().filter_map(|argument| {
        let variable = argument.get_env()?.to_str()?.to_owned();
        Some((argument.get_id().as_str().to_uppercase(), variable))
    })
}

impl Variables<'_> {
    /// Which of these variables, by name and value, begin as the program's do and are not read. `closest` finds the word that
    /// is most like another.
    pub fn unread(
        &self,
        environment: impl IntoIterator<Item = (String, String)>,
        closest: impl Fn(&str, &[&str]) -> Option<String>,
    ) -> Vec<Unread> {
        let keys: Vec<&str> = self.known.keys().map(String::as_str).collect();
        let is_known = |name: &str| self.known.values().any(|known| known == name) || self.of_others.contains(&name);
        let mut unread: Vec<_> = environment
            .into_iter()
            .filter(|(name, value)| !is_known(name) && !is_service_link(name, value))
            .filter_map(|(name, _)| {
                let key = name.strip_prefix(self.prefix)?;
                let meant = closest(key, &keys).and_then(|key| self.known.get(&key).cloned());
                Some(Unread { name, meant })
            })
            .collect();
        unread.sort_by(|a, b| a.name.cmp(&b.name));
        unread
    }

    /// As [`Variables::unread`], of this process.
    pub fn unread_here(&self, closest: impl Fn(&str, &[&str]) -> Option<String>) -> Vec<Unread> {
        let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            name.into_string().ok().map(|name| (name, value.to_string_lossy().into_owned()))
        };
        self.unread(std::env::vars_os().filter_map(text), closest)
    }
}

/// Whether a variable is one of those that Kubernetes puts into a pod for each Service of its namespace: a Service
/// `cofide-connect` makes `COFIDE_CONNECT_SERVICE_HOST`, `COFIDE_CONNECT_PORT_8443_TCP_ADDR` and more of that kind.
fn is_service_link(name: &str, value: &str) -> bool {
    let of_port = |(_, rest): (&str, &str)| rest.starts_with(|c: char| c.is_ascii_digit());
    name.ends_with("_SERVICE_HOST")
        || name.ends_with("_SERVICE_PORT")
        || name.contains("_SERVICE_PORT_")
        || name.split_once("_PORT_").is_some_and(of_port)
        || (name.ends_with("_PORT") && value.contains("://"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unread(environment: &[(&str, &str)]) -> Vec<String> {
        let known = [("LISTEN_ADDRESS", "EXAMPLE_LISTEN_ADDRESS"), ("PORT", "EXAMPLE_PORT"), ("TRUST_DOMAIN", "TRUST_DOMAIN")];
        let known = known.map(|(key, name)| (key.to_owned(), name.to_owned())).into();
        let variables = Variables { prefix: "EXAMPLE_", of_others: &["EXAMPLE_URL"], known };
        let environment = environment.iter().map(|&(name, value)| (name.to_owned(), value.to_owned()));
        let same_beginning = |word: &str, keys: &[&str]| keys.iter().find(|key| key.get(..3) == word.get(..3)).map(|&key| key.to_owned());
        variables.unread(environment, same_beginning).iter().map(Unread::to_string).collect()
    }

    #[test]
    fn what_begins_as_a_programs_variables_do_and_is_none_of_them_is_told_with_what_was_probably_meant() {
        let set = [("EXAMPLE_LISTEN_ADRESS", "1"), ("EXAMPLE_COLOUR", "red"), ("EXAMPLE_TRUST_DOMAIN", "a.test"), ("EXAMPLE_PORT", "80")];
        assert_eq!(
            unread(&set),
            [
                "the environment variable EXAMPLE_COLOUR is not known and has no effect",
                "the environment variable EXAMPLE_LISTEN_ADRESS is not known and has no effect; did you mean EXAMPLE_LISTEN_ADDRESS?",
                "the environment variable EXAMPLE_TRUST_DOMAIN is not known and has no effect; did you mean TRUST_DOMAIN?",
            ]
        );
    }

    #[test]
    fn what_belongs_to_others_is_their_business() {
        let of_others = [
            ("PATH", "/bin"),
            ("EXAMPLES", "1"),
            ("EXAMPLE_URL", "host:1"),
            ("TRUST_DOMAIN", "a.test"),
            ("EXAMPLE_SERVICE_HOST", "10.96.0.7"),
            ("EXAMPLE_SERVICE_PORT", "8443"),
            ("EXAMPLE_SERVICE_PORT_GRPC", "8443"),
            ("EXAMPLE_PORT", "tcp://10.96.0.7:8443"),
            ("EXAMPLE_PORT_8443_TCP", "tcp://10.96.0.7:8443"),
            ("EXAMPLE_PORT_8443_TCP_ADDR", "10.96.0.7"),
            ("EXAMPLE_DNS_PORT", "udp://10.96.0.8:53"),
        ];
        assert_eq!(unread(&of_others), [""; 0]);
    }
}
