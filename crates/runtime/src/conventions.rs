//! What people expect of the command line of every program, for the tests of each to ask.

use clap::Command;

use crate::program::Program;

/// In which way keys of the configuration are not within reach as they should be: by a flag of the same name that has a help
/// text, and by a variable that is the same name in capitals behind the program's prefix.
///
/// `established` are keys whose variables have had other names for long. What [`Program::VARIABLES_WITHOUT_FLAG`] names has no
/// flag and wants none.
pub fn breaches<P>(established: &[(&str, &str)]) -> Vec<String>
where
    P: Program<Config: Default, Overrides: Default>,
{
    let mut breaches = Vec::new();
    let (keys, overrides) = (keys(&P::Config::default()), keys(&P::Overrides::default()));
    if keys != overrides {
        breaches.push(format!("the configuration has the keys {keys:?}, the command line {overrides:?}"));
    }
    let command = <P::Overrides as clap::Args>::augment_args(Command::new(P::NAME));
    for key in keys {
        let capitals = key.to_uppercase();
        let established = established.iter().find(|(name, _)| *name == key).map(|(_, variable)| (*variable).to_owned());
        let expected = established.unwrap_or_else(|| format!("{}{capitals}", P::VARIABLE_PREFIX));
        let without_flag = P::VARIABLES_WITHOUT_FLAG.iter().find(|(name, _)| *name == capitals).map(|(_, variable)| (*variable).to_owned());
        let flag = key.replace('_', "-");
        let argument = command.get_arguments().find(|argument| argument.get_long() == Some(&flag));
        let variable = match (argument, without_flag) {
            (Some(_), Some(_)) => {
                breaches.push(format!("{key} has a flag, and is said to have none"));
                continue;
            }
            (None, None) => {
                breaches.push(format!("{key} has no flag, and no variable without one"));
                continue;
            }
            (None, Some(variable)) => Some(variable),
            (Some(argument), None) => {
                if argument.get_help().is_none() {
                    breaches.push(format!("--{flag} has no help"));
                }
                argument.get_env().and_then(|name| name.to_str()).map(str::to_owned)
            }
        };
        if variable.as_ref() != Some(&expected) {
            breaches.push(format!("the variable of {key} is {variable:?} and should be {expected}"));
        }
    }
    breaches
}

fn keys(value: &impl serde::Serialize) -> Vec<String> {
    let value = serde_json::to_value(value).expect("a configuration can be written as JSON");
    value.as_object().expect("a configuration has keys").keys().cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logging::Format;
    use crate::program::Failure;
    use clap::Args;
    use serde::{Deserialize, Serialize};
    use tokio_util::sync::CancellationToken;

    struct Example;

    #[derive(Args, Default, Serialize)]
    struct Overrides {
        /// Where
        #[arg(long, env = "EXAMPLE_ADDRESS")]
        address: Option<String>,
        #[arg(long, env = "EXAMPLE_COLOR")]
        colour: Option<String>,
        #[arg(skip)]
        password: Option<String>,
        #[arg(skip)]
        token: Option<String>,
        /// Who
        #[arg(long, env = "WHO")]
        name: Option<String>,
    }

    #[derive(Serialize, Deserialize, Default)]
    struct Config {
        address: String,
        colour: String,
        password: String,
        token: String,
        name: String,
    }

    impl Program for Example {
        const NAME: &'static str = "example";
        const CONFIG_VARIABLE: &'static str = "EXAMPLE_CONFIG";
        const VARIABLE_PREFIX: &'static str = "EXAMPLE_";
        const VARIABLES_WITHOUT_FLAG: &'static [(&'static str, &'static str)] = &[("TOKEN", "EXAMPLE_TOKEN")];
        const DEFAULT_FILE: &'static str = "";
        type Overrides = Overrides;
        type Config = Config;

        fn check(_: &Config) -> Result<(), Failure> {
            Ok(())
        }
        fn logging(_: &Config) -> (Format, &str) {
            (Format::Text, "info")
        }
        fn closest(_: &str, _: &[&str]) -> Option<String> {
            None
        }
        async fn serve(_: Config, _: CancellationToken) -> Result<(), Failure> {
            Ok(())
        }
    }

    #[test]
    fn a_key_without_flag_help_or_the_expected_variable_is_told() {
        assert_eq!(
            breaches::<Example>(&[("name", "WHO")]),
            [
                "--colour has no help",
                "the variable of colour is Some(\"EXAMPLE_COLOR\") and should be EXAMPLE_COLOUR",
                "password has no flag, and no variable without one",
            ]
        );
    }
}
