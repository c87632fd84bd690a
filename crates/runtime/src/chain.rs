//! An error and what caused it.

use std::error::Error;
use std::fmt;

/// An error with its causes in one line. A cause that the error before it has told already is left out.
#[derive(Clone, Copy, Debug)]
pub struct Chain<'a>(pub &'a (dyn Error + 'static));

impl<'a> Chain<'a> {
    /// The error and its causes, the outermost first.
    pub fn iter(self) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
        std::iter::successors(Some(self.0), |&error| {
            // An I/O error skips the error that it wraps when it is asked for its source.
            let wrapped = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
            wrapped.map(|wrapped| wrapped as &(dyn Error + 'static)).or_else(|| error.source())
        })
    }

    /// What it all began with, which often says more than what the layers above made of it.
    pub fn root_cause(self) -> &'a (dyn Error + 'static) {
        self.iter().last().unwrap_or(self.0)
    }

    /// The causes, in one line after a text of the caller's own that stands for the error itself.
    pub fn after(self, text: impl Into<String>) -> String {
        let mut line = text.into();
        let mut told = line.clone();
        for cause in self.iter().skip(1).map(ToString::to_string) {
            if !told.contains(&cause) {
                line.push_str(": ");
                line.push_str(&cause);
                told = cause;
            }
        }
        line
    }
}

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.after(self.0.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct Layer {
        text: &'static str,
        source: Option<Box<dyn Error + Send + Sync>>,
    }

    fn layer(text: &'static str, source: impl Into<Box<dyn Error + Send + Sync>>) -> Layer {
        Layer { text, source: Some(source.into()) }
    }

    #[test]
    fn each_cause_is_told_once() {
        let refused = Layer { text: "refused", source: None };
        let error = layer("cannot start", layer("cannot listen: refused", refused));
        assert_eq!(Chain(&error).to_string(), "cannot start: cannot listen: refused");
        assert_eq!(Chain(&error).after("Unavailable"), "Unavailable: cannot listen: refused");
        assert_eq!(Chain(&error).root_cause().to_string(), "refused");
    }

    #[test]
    fn what_an_io_error_wraps_is_among_its_causes() {
        let wrapped = layer("handshake", Layer { text: "unknown authority", source: None });
        let error = layer("cannot connect", io::Error::other(wrapped));
        let found: Vec<_> = Chain(&error).iter().filter_map(|cause| cause.downcast_ref::<Layer>()).map(|layer| layer.text).collect();
        assert_eq!(found, ["cannot connect", "handshake", "unknown authority"]);
        assert_eq!(Chain(&error).to_string(), "cannot connect: handshake: unknown authority");
    }
}
