//! Reports the tools that run at OpenAI. In Responses, each call of one is an item of the output.

use serde_json::{Map, Value};

use super::builder::ChunkBuilder;
use super::cited::source_in;
use super::common::{is_in, list_in, text_in};
use super::hosted;
use crate::attachment::Attachment;

/// The fields of an item that hold the input of the tool.
const INPUT: [&str; 5] = ["code", "arguments", "operation", "action", "prompt"];
/// The fields that are neither input nor output.
const OTHER: &str = "type id call_id name status result container_id server_label \
    approval_request_id execution background error";
/// The tools that the caller has to run. When they are told, nothing has happened yet.
const OF_CALLER: &str =
    "local_shell_call shell_call apply_patch_call computer_call mcp_approval_request";

/// The call of a tool, as far as it is known.
#[derive(Debug, Default)]
pub(super) struct OwnTool {
    id: String,
    name: String,
    /// Set when the start was reported. `with_input` says whether the input was known then.
    started: Option<Started>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Started {
    WithInput,
    WithoutInput,
}

impl OwnTool {
    /// Notes the announcement of a call. The start is reported now if the item will tell the input
    /// only at the end.
    pub(super) fn announce(&mut self, item: &Value, out: &mut ChunkBuilder) {
        self.learn(item);
        let is_call = text_in(item, "type").ends_with("_call");
        if is_call && !INPUT.iter().any(|name| item.get(name).is_some()) {
            self.start(String::new(), Started::WithoutInput, out);
        }
    }

    /// Reports the start of a call whose input has become whole.
    pub(super) fn input(&mut self, input: String, out: &mut ChunkBuilder) {
        if !self.name.is_empty() && self.started.is_none() {
            let input = match serde_json::from_str(&input) {
                Ok(json @ Value::Object(_)) => hosted::text_of(&json),
                _ => input,
            };
            self.start(input, Started::WithInput, out);
        }
    }

    /// Reports the end of a call, with its output, the pictures that it made and the sources that it
    /// found. If the start was not reported, it is reported first.
    pub(super) fn end(&mut self, item: &Value, out: &mut ChunkBuilder) {
        self.learn(item);
        let kind = text_in(item, "type");
        if kind == "compaction" {
            return;
        }
        if self.started.is_none() && !kind.ends_with("_output") {
            let input = INPUT.iter().find_map(|name| item.get(name)).map(hosted::text_of);
            self.input(input.unwrap_or_default(), out);
        }
        let Value::Object(fields) = item else { return };
        if is_in(OF_CALLER, kind) {
            return;
        }
        let is_output = |name: &str| {
            let is_input = INPUT.contains(&name) && self.started == Some(Started::WithInput);
            !is_input && !is_in(OTHER, name)
        };
        let output = fields.iter().filter(|(name, value)| !value.is_null() && is_output(name));
        let output: Map<_, _> = output.map(|(name, it)| (name.clone(), it.clone())).collect();
        let error = item.get("error").filter(|error| !error.is_null());
        let has_failed =
            error.is_some() || matches!(text_in(item, "status"), "failed" | "incomplete");
        let output = error.map_or_else(|| hosted::text_of(&output.into()), hosted::text_of);
        out.tool_finished(&self.id, &self.name, output, has_failed);
        if kind == "image_generation_call" && !text_in(item, "result").is_empty() {
            let format = Some(text_in(item, "output_format")).filter(|format| !format.is_empty());
            let media_type = format!("image/{}", format.unwrap_or("png"));
            out.attach(Attachment::from_base64(media_type, text_in(item, "result").to_owned()));
        }
        let found = item.get("action").map_or(&[][..], |action| list_in(action, "sources"));
        for found in found.iter().chain(list_in(item, "results")) {
            out.source(source_in(found), None);
        }
    }

    fn learn(&mut self, item: &Value) {
        let (kind, call) = (text_in(item, "type"), text_in(item, "call_id"));
        let name = kind.strip_suffix("_call").or(kind.strip_suffix("_output")).unwrap_or(kind);
        let told = Some(text_in(item, "name")).filter(|name| !name.is_empty());
        self.name = told.unwrap_or(name).to_owned();
        self.id = if call.is_empty() { text_in(item, "id") } else { call }.to_owned();
    }

    fn start(&mut self, input: String, started: Started, out: &mut ChunkBuilder) {
        out.tool_started(&self.id, &self.name, input);
        self.started = Some(started);
    }
}
