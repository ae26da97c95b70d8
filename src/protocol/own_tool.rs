//! Reports the tools that run at OpenAI. In Responses, each call of one is an item of the output.

use serde_json::Value;

use super::builder::ChunkBuilder;
use super::common::{is_in, list_in, some_text_in, text_in};
use super::{cited, hosted};
use crate::attachment::Attachment;

/// The fields of an item that hold the input of the tool.
const INPUT: &str = "code arguments operation action prompt input";
/// The fields that are neither input nor output.
const OTHER: &str = "type id call_id name status result container_id server_label \
    approval_request_id execution background error output_format size quality";
/// The items that are no tools of OpenAI's: the caller has to run the calls.
const NO_TOOLS: &str = "compaction local_shell_call shell_call apply_patch_call computer_call \
    mcp_approval_request";

/// The call of a tool, as far as it is known.
#[derive(Debug, Default)]
pub(super) struct OwnTool {
    id: String,
    name: String,
    /// The start was reported.
    has_started: bool,
    /// The input was known when the start was reported.
    has_input: bool,
}

impl OwnTool {
    /// Notes the announcement of a call. The start is reported now, unless the input comes in events
    /// of its own.
    pub(super) fn announce(&mut self, item: &Value, out: &mut ChunkBuilder) {
        self.learn(item);
        let kind = text_in(item, "type");
        let comes_later =
            ["code", "arguments", "input"].iter().any(|name| item.get(name).is_some());
        if kind.ends_with("_call") && !is_in(NO_TOOLS, kind) && !comes_later {
            self.start(input_of(item), out);
        }
    }

    /// Reports the start of a call, unless it was reported before.
    pub(super) fn start(&mut self, input: String, out: &mut ChunkBuilder) {
        if self.name.is_empty() || self.has_started {
            return;
        }
        let input = match serde_json::from_str(&input) {
            Ok(json @ Value::Object(_)) => hosted::text_of(&json),
            _ => input,
        };
        (self.has_started, self.has_input) = (true, !input.is_empty());
        out.tool_started(&self.id, &self.name, input);
    }

    /// Reports the end of a call, with its output, the pictures that it made and the sources that it
    /// found. If the start was not reported, it is reported first.
    pub(super) fn end(&mut self, item: &Value, out: &mut ChunkBuilder) {
        self.learn(item);
        let kind = text_in(item, "type");
        let Value::Object(fields) = item else { return };
        if is_in(NO_TOOLS, kind) {
            return;
        }
        if !kind.ends_with("_output") {
            self.start(input_of(item), out);
        }
        // The output is an item of its own.
        if kind == "tool_search_call" && text_in(item, "execution") == "server" {
            return;
        }
        let is_other = |name: &str| is_in(OTHER, name) || (self.has_input && is_in(INPUT, name));
        let output = fields.iter().filter(|(name, value)| !(value.is_null() || is_other(name)));
        let output: Value = output.map(|(name, it)| (name.clone(), it.clone())).collect();
        let error = item.get("error").filter(|error| !error.is_null());
        let has_failed =
            error.is_some() || matches!(text_in(item, "status"), "failed" | "incomplete");
        let output = hosted::text_of(error.unwrap_or(&output));
        out.tool_finished(&self.id, &self.name, output, has_failed);
        if kind == "image_generation_call"
            && let Some(picture) = some_text_in(item, "result")
        {
            let format = some_text_in(item, "output_format").unwrap_or("png");
            out.attach(Attachment::from_base64(format!("image/{format}"), picture));
        }
        for made in list_in(item, "outputs").iter().filter(|made| hosted::is_picture(made)) {
            out.attach(Attachment::url(text_in(made, "url")));
        }
        let found = list_in(item.get("action").unwrap_or_default(), "sources");
        for found in found.iter().chain(list_in(item, "results")) {
            out.source(cited::source_in(found), None);
        }
    }

    fn learn(&mut self, item: &Value) {
        let kind = text_in(item, "type");
        let name = kind.strip_suffix("_call").or(kind.strip_suffix("_output")).unwrap_or(kind);
        self.name = some_text_in(item, "name").unwrap_or(name).to_owned();
        self.id = some_text_in(item, "call_id").unwrap_or_else(|| text_in(item, "id")).to_owned();
    }
}

fn input_of(item: &Value) -> String {
    INPUT.split(' ').find_map(|name| item.get(name)).map(hosted::text_of).unwrap_or_default()
}
