//! Reads environment variables. No other file does.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// The source of variables such as `OPENAI_API_KEY`: the environment of this process, or a fixed
/// set. Defaults to the environment of this process.
///
/// A program that must not depend on its surroundings, or a test that must not cost money, uses a
/// fixed set:
///
/// ```
/// use kerb_stream::{Environment, GenerationConfig};
///
/// let without = GenerationConfig::new("mistral-small-latest").environment(Environment::empty());
/// let fixed = Environment::from_iter([("OPENAI_API_KEY", "sk-…")]);
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Environment {
    fixed: Option<Arc<BTreeMap<String, String>>>,
}

impl Environment {
    /// Returns the environment of this process. Its variables are read at the first `next` of a
    /// stream, or by [`request`](crate::GenerationStream::request).
    pub fn process() -> Self {
        Self::default()
    }

    /// Returns an environment without variables.
    pub fn empty() -> Self {
        Self { fixed: Some(Arc::default()) }
    }

    /// Returns the value of a variable without the white space around it, or `None` if nothing is
    /// left.
    pub(crate) fn get(&self, name: &str) -> Option<String> {
        let value = match &self.fixed {
            Some(fixed) => fixed.get(name)?.clone(),
            None => std::env::var(name).ok()?,
        };
        let value = value.trim();
        (!value.is_empty()).then(|| value.to_owned())
    }
}

impl<K: Into<String>, V: Into<String>> FromIterator<(K, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(variables: I) -> Self {
        let fixed = variables.into_iter().map(|(name, value)| (name.into(), value.into()));
        Self { fixed: Some(Arc::new(fixed.collect())) }
    }
}

/// Shows only the names of variables, because their values may be keys.
impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.fixed {
            Some(fixed) => f.debug_set().entries(fixed.keys()).finish(),
            None => f.write_str("process"),
        }
    }
}
