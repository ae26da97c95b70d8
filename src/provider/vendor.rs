//! What a row of the table says of a vendor: [`Vendor`].

use super::dialect::Dialect;
use super::protocol::Protocol;
use super::record::record;

record! {
    /// A row of the table: all there is to know of a vendor that speaks one of the protocols.
    Vendor;

    /// What a row says that says nothing.
    COMPATIBLE {
        /// Up to and including the version; empty where there is no public one. The value of a
        /// variable stands for its name in braces: `{AWS_REGION}`, or
        /// `{AWS_REGION|AWS_DEFAULT_REGION}`.
        base_url: &'static str = "",
        /// The variable that names another base URL, and what the vendor's own tools write there.
        base_url_variable: Option<(&'static str, UrlForm)> = None,
        /// In the order of the vendor's own SDK.
        key_variables: &'static [&'static str] = &[],
        /// Those of them that hold a token, which goes as `Authorization: Bearer` whatever the
        /// protocol's own header is.
        bearer_variables: &'static [&'static str] = &[],
        /// Whether a request without a key is hopeless.
        key_required: bool = true,
        /// Headers that carry the values of variables, where those are set.
        header_variables: &'static [(&'static str, &'static str)] = &[],
        /// How the names of its models begin. Where several rows have one, none of them is chosen.
        model_prefixes: &'static [&'static str] = &[],
        protocol: Protocol = Protocol::ChatCompletions,
        /// The protocol that a model is asked in at the vendor's own address, by the beginnings of
        /// names. The first that fits decides.
        protocols: &'static [(&'static str, Protocol)] = &[],
        /// The kinds of `tool_choice` that the server is known to ignore, for models whose names begin
        /// so, and what to do instead.
        ignored_tool_choices: &'static [(&'static str, &'static str, &'static str)] = &[],
        /// Its whole answers may end with `[DONE]` alone, without a finish reason and usage.
        /// Elsewhere an answer that was interrupted ends so.
        ends_without_reason: bool = false,
        /// How its Chat Completions differ from the common form.
        dialect: Dialect = Dialect::COMMON,
    }
}

/// What a variable that names a base URL holds.
#[derive(Debug, Clone, Copy)]
pub(crate) enum UrlForm {
    /// The whole base URL.
    Whole,
    /// The base URL without this version, which the vendor's own tools add to it.
    WithoutVersion(&'static str),
    /// The address that Ollama's server listens on.
    OllamaHost,
}
