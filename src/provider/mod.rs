//! The providers and the wire protocols: [`LlmProvider`], [`Protocol`] and the table of vendors.
//!
//! This is plain data. A compatible vendor is one row in `table.rs`. The encoders and the router
//! interpret the rows.

mod dialect;
mod protocol;
mod record;
mod table;
mod vendor;
mod web_search;

#[cfg(test)]
pub(crate) use dialect::Dialect;
pub(crate) use dialect::{CallIds, ReasoningForm, form as reasoning_form};
pub use protocol::Protocol;
pub use table::LlmProvider;
pub(crate) use vendor::{UrlForm, Vendor};
pub(crate) use web_search::WebSearch;

impl LlmProvider {
    /// Returns the environment variables that may hold the provider's API key, in the order in
    /// which they are tried.
    pub fn key_variables(self) -> &'static [&'static str] {
        self.vendor().key_variables
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_read_back() {
        for &provider in LlmProvider::ALL {
            assert_eq!(provider.as_str().parse::<LlmProvider>().unwrap(), provider);
            assert_eq!(provider.as_str(), provider.as_str().to_ascii_lowercase());
        }
        for &protocol in Protocol::ALL {
            assert_eq!(protocol.as_str().parse::<Protocol>().unwrap(), protocol);
            assert_eq!(serde_json::to_value(protocol).unwrap(), protocol.as_str());
        }
        // A stray blank in a list would add an empty prefix, which every model's name begins with.
        for vendor in LlmProvider::ALL.iter().map(|provider| provider.vendor()) {
            let dialect = &vendor.dialect;
            let names = vendor.protocols.iter().map(|(names, _)| *names);
            let names = names.chain(dialect.reasoning.iter().map(|(names, _)| *names));
            let names = names.chain(vendor.ignored_tool_choices.iter().map(|(_, names, _)| *names));
            let mut names = names.chain(dialect.think_tags).chain(dialect.strict_schemas);
            assert!(names.all(|it| it.is_empty() || it.split(' ').all(|name| !name.is_empty())));
        }
        let error = |name: &str| name.parse::<LlmProvider>().unwrap_err().to_string();
        assert_eq!(error("opnai"), "unknown provider \"opnai\"; did you mean \"openai\"?");
        assert!(error("x").contains("\"x\"; the known names are openai, anthropic"));
    }
}
