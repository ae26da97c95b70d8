//! The only place that reads environment variables.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// Where variables such as `OPENAI_API_KEY` are read: the process's environment, or a fixed set.
///
/// A program that must not depend on its surroundings, or a test that must not spend money, gives
/// its own:
///
/// ```
/// use kerb_stream::{Environment, GenerationConfig};
///
/// let hermetic = GenerationConfig::new("gpt-4o-mini").environment(Environment::empty());
/// let fixed = Environment::from_iter([("OPENAI_API_KEY", "sk-…")]);
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Environment {
    fixed: Option<Arc<BTreeMap<String, String>>>,
}

impl Environment {
    /// The environment of this process, read when a stream starts.
    pub fn process() -> Self {
        Self::default()
    }

    /// No variables at all.
    pub fn empty() -> Self {
        Self { fixed: Some(Arc::default()) }
    }

    /// The value of a variable without the white space around it; `None` if nothing is left.
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

/// Shows names only: the values may be keys.
impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.fixed {
            Some(fixed) => f.debug_set().entries(fixed.keys()).finish(),
            None => f.write_str("process"),
        }
    }
}
