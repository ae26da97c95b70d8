//! Every field of every recorded stream is accounted for: it reaches the caller, it decides
//! something, or it is in the list [`UNTOLD`], which is also a table in docs/providers.md.
//!
//! The test changes the field in the recording and reads the stream again. If the chunks, the
//! response or the error then differ, the field is used. It does so in up to 16 recordings, since a
//! field may be used in some of them only.
//!
//! The recordings are beside the checkout, in the folder that `KERB_STREAM_SHARED` names.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::io::Cursor;

use kerb_stream::Protocol::{
    self, ChatCompletions, CohereChat, GenerateContent, Messages, Responses,
};
use kerb_stream::{GenerationConfig, GenerationStream};
use serde_json::{Value, json};

use crate::recordings::{self, READ, SETS, cases, config};
use crate::support::{Outcome, shared};

/// The fields that only `raw` shows: what they are, and their paths in each protocol. A path
/// includes everything inside it. `[]` is an element of a list.
const UNTOLD: &[(&str, &[(Protocol, &str)])] = &[
    (
        "A copy of the request",
        &[(
            Responses,
            "response.background response.frequency_penalty response.instructions \
             response.max_output_tokens response.max_tool_calls response.parallel_tool_calls \
             response.presence_penalty response.prompt_cache_key response.prompt_cache_retention \
             response.reasoning response.safety_identifier response.store response.temperature \
             response.text response.tool_choice response.tools response.top_logprobs \
             response.top_p response.truncation",
        )],
    ),
    (
        "A copy of what another event or field tells. A copy of text or arguments is compared",
        &[
            (
                ChatCompletions,
                "choices[].delta.executed_tools[].arguments choices[].delta.executed_tools[].name \
                 choices[].message choices[].native_finish_reason usage.prompt_cache_hit_tokens \
                 x_groq.usage.completion_tokens_details x_groq.usage.prompt_tokens_details",
            ),
            (Responses, "item.content[].logprobs[] part response.output response.status"),
        ],
    ),
    (
        "The kind, role, number, status or ID of an event or part, if nothing depends on it",
        &[
            (
                ChatCompletions,
                "choices[].delta.annotations[].type choices[].delta.audio.id \
                 choices[].delta.channel choices[].delta.content[].thinking[].type \
                 choices[].delta.content[].type choices[].delta.executed_tools[].type \
                 choices[].delta.name choices[].delta.reasoning_details[].id \
                 choices[].delta.reasoning_encrypted choices[].delta.role \
                 choices[].delta.tool_calls[].index choices[].delta.tool_calls[].type object",
            ),
            (
                Responses,
                "annotation.index annotation.type annotation_index command_index item.id \
                 item.role item.status item_id response.object sequence_number summary_index",
            ),
            (Messages, "message.role message.type"),
            (
                GenerateContent,
                "candidates[].content.parts[].functionCall.partialArgs[].willContinue \
                 candidates[].content.role",
            ),
            (CohereChat, "delta.message.role delta.message.tool_calls.type"),
        ],
    ),
    (
        "The server: its version, route, seed and clock",
        &[
            (
                ChatCompletions,
                "choices[].delta.audio.expires_at choices[].delta.provider_metadata \
                 choices[].seed created generationId provider system_fingerprint x_groq.id \
                 x_groq.seed",
            ),
            (Responses, "response.completed_at response.created_at"),
            (Messages, "delta.container message.container message.provider"),
            (GenerateContent, "createTime"),
        ],
    ),
    (
        "Times and speeds that the server measured",
        &[(
            ChatCompletions,
            "latency_checkpoint sla_metrics time_info timings usage.avg_compl_tok_per_sec \
             usage.avg_prompt_tok_per_sec usage.avg_tok_per_sec usage.completion_time \
             usage.prompt_time usage.prompt_tokens_per_second usage.queue_time \
             usage.time_per_output_token_ms usage.time_to_first_token_ms usage.tokens_per_second \
             usage.total_completion_time_sec usage.total_prompt_time_sec usage.total_time \
             usage.total_time_sec x_groq.usage.completion_time x_groq.usage.prompt_time \
             x_groq.usage.queue_time x_groq.usage.total_time",
        )],
    ),
    (
        "Costs, billed units, and counts that [`Usage`](crate::Usage) does not have",
        &[
            (
                ChatCompletions,
                "copilot_usage cost usage.cache_creation \
                 usage.completion_tokens_details.accepted_prediction_tokens \
                 usage.completion_tokens_details.audio_tokens \
                 usage.completion_tokens_details.image_tokens \
                 usage.completion_tokens_details.rejected_prediction_tokens \
                 usage.completion_tokens_details.text_tokens usage.cost usage.cost_details \
                 usage.cost_in_usd_ticks usage.draft_tokens usage.draft_tokens_acceptance \
                 usage.image_tokens usage.is_byok usage.market_cost usage.num_sources_used \
                 usage.prompt_cache_miss_tokens usage.prompt_tokens_details.audio_tokens \
                 usage.prompt_tokens_details.image_tokens usage.prompt_tokens_details.text_tokens \
                 usage.prompt_tokens_details.video_tokens usage.search_context_size \
                 usage.web_search_usage x_groq.usage_breakdown",
            ),
            (
                Responses,
                "copilot_usage response.tool_usage response.usage.cost \
                 response.usage.cost_details response.usage.cost_in_usd_ticks \
                 response.usage.is_byok response.usage.num_server_side_tools_used \
                 response.usage.num_sources_used response.usage.server_side_tool_usage_details",
            ),
            (
                Messages,
                "message.usage.cache_creation message.usage.inference_geo \
                 message.usage.server_tool_use message.usage.speed usage.cache_creation \
                 usage.cost usage.cost_details usage.is_byok usage.iterations \
                 usage.server_tool_use usage.speed",
            ),
            (
                GenerateContent,
                "usageMetadata.cacheTokensDetails usageMetadata.candidatesTokensDetails \
                 usageMetadata.promptTokensDetails usageMetadata.toolUsePromptTokensDetails \
                 usageMetadata.trafficType",
            ),
            (CohereChat, "delta.usage.billed_units"),
        ],
    ),
    (
        "Verdicts of content filters that let the answer pass",
        &[
            (ChatCompletions, "choices[].content_filter_results moderation prompt_filter_results"),
            (Responses, "response.content_filters"),
            (
                GenerateContent,
                "candidates[].finishMessage candidates[].safetyRatings \
                 promptFeedback.safetyRatings",
            ),
        ],
    ),
    (
        "More about a source than its URL, ID, title and quoted words",
        &[
            (
                ChatCompletions,
                "choices[].delta.annotations[].site_name choices[].delta.annotations[].summary \
                 choices[].delta.executed_tools[].search_results.results[].content \
                 choices[].delta.executed_tools[].search_results.results[].score \
                 search_results[].date search_results[].last_updated search_results[].snippet \
                 search_results[].source",
            ),
            (Responses, "annotation.container_id"),
            (
                GenerateContent,
                "candidates[].citationMetadata.citations[].license \
                 candidates[].citationMetadata.citations[].publicationDate \
                 candidates[].groundingMetadata.searchEntryPoint",
            ),
        ],
    ),
    (
        "Pictures and questions that a search suggests",
        &[(ChatCompletions, "images related_questions")],
    ),
    (
        "Pieces, previews and settings of a hosted tool's work",
        &[(
            Responses,
            "background command diff output_format partial_image_b64 partial_image_index quality \
             size",
        )],
    ),
    (
        "Tokens as numbers or bytes, and Cohere's log probabilities, which have no tokens",
        &[
            (
                ChatCompletions,
                "choices[].delta.token_id choices[].logprobs.content[].bytes \
                 choices[].logprobs.content[].id \
                 choices[].logprobs.content[].top_logprobs[].bytes \
                 choices[].logprobs.content[].top_logprobs[].id \
                 choices[].logprobs.reasoning_content[].bytes \
                 choices[].logprobs.reasoning_content[].top_logprobs[].bytes",
            ),
            (Responses, "logprobs[].bytes"),
            (CohereChat, "logprobs"),
        ],
    ),
    (
        "The stop sequence that the model reached",
        &[
            (ChatCompletions, "choices[].matched_stop choices[].stop_reason"),
            (Messages, "delta.stop_sequence"),
        ],
    ),
    (
        "Padding that hides the length of a token",
        &[(ChatCompletions, "obfuscation p"), (Responses, "obfuscation")],
    ),
];

/// A recorded stream.
struct Recording {
    config: GenerationConfig,
    lines: Vec<Line>,
    /// What the caller gets from it.
    outcome: String,
    has_failed: bool,
}

/// A line of the body: the JSON of an event, or any other line.
enum Line {
    Data(Value),
    Other(String),
}

impl Recording {
    fn new(body: &str, config: GenerationConfig) -> Self {
        let line = |line: &str| match line.strip_prefix("data:").map(serde_json::from_str) {
            Some(Ok(event)) => Line::Data(event),
            _ => Line::Other(line.to_owned()),
        };
        let lines = body.lines().map(line).collect();
        let mut recording = Self { config, lines, outcome: String::new(), has_failed: false };
        (recording.outcome, recording.has_failed) = recording.read();
        recording
    }

    /// Returns everything that the caller gets, and whether it ends with an error.
    fn read(&self) -> (String, bool) {
        let lines = self.lines.iter().map(|line| match line {
            Line::Data(event) => format!("data: {event}\n"),
            Line::Other(line) => format!("{line}\n"),
        });
        let body = Cursor::new(lines.collect::<String>());
        let outcome = Outcome::of(GenerationStream::from_reader(body, &self.config));
        let body = outcome.error().and_then(|error| error.body());
        let (chunks, message, response) = outcome.without_times();
        let has_failed = !message.is_empty();
        (json!([chunks, response, message, body]).to_string(), has_failed)
    }

    /// Returns whether the caller gets something else if a field of an event has another value.
    fn depends_on(&mut self, Place { line, pointer, .. }: &Place) -> bool {
        let Some(Line::Data(event)) = self.lines.get_mut(*line) else { unreachable!() };
        let before = event.clone();
        let field = event.pointer_mut(pointer).unwrap();
        *field = another(field);
        let depends = self.read().0 != self.outcome;
        self.lines[*line] = Line::Data(before);
        depends
    }
}

fn another(value: &Value) -> Value {
    match value {
        Value::Bool(value) => json!(!value),
        Value::Number(number) if number.is_f64() => json!(number.as_f64().unwrap() - 0.125),
        Value::Number(number) => json!(number.as_i64().unwrap_or_default() + 7),
        _ => json!("anotherText0"), // It is Base64, too.
    }
}

/// The place of a field that says something.
struct Place {
    recording: usize,
    line: usize,
    /// A JSON pointer.
    pointer: String,
}

/// Calls `see` with each field of an event that says something: with the path and the pointer. The
/// path has the kinds of objects, since a field may be used in one of them only.
fn fields(value: &Value, path: &str, pointer: &str, see: &mut impl FnMut(&str, &str)) {
    match value {
        Value::Null => {}
        Value::String(text) if text.is_empty() => {}
        Value::Array(values) => {
            for (at, value) in values.iter().enumerate() {
                fields(value, &format!("{path}[]"), &format!("{pointer}/{at}"), see);
            }
        }
        Value::Object(values) => {
            let kind = values.get("type").and_then(Value::as_str).filter(|_| !path.is_empty());
            let path = path.to_owned() + &kind.map(|kind| format!("<{kind}>")).unwrap_or_default();
            for (name, value) in values {
                let escaped = name.replace('~', "~0").replace('/', "~1");
                fields(value, &format!("{path}.{name}"), &format!("{pointer}/{escaped}"), see);
            }
        }
        _ => see(path, pointer),
    }
}

/// Returns a path without the kinds of objects.
fn plain(path: &str) -> String {
    let parts = path.split('<').map(|part| part.split_once('>').map_or(part, |(_, rest)| rest));
    parts.collect::<String>().trim_start_matches('.').to_owned()
}

/// Returns what each listed field of a protocol is, and its path.
fn untold(protocol: Protocol) -> impl Iterator<Item = (&'static str, &'static str)> {
    let all = UNTOLD.iter().flat_map(|(what, fields)| fields.iter().map(move |it| (*what, it)));
    let of_protocol = all.filter(move |(_, (of, _))| *of == protocol);
    of_protocol.flat_map(|(what, (_, paths))| paths.split(' ').map(move |path| (what, path)))
}

fn is_inside(path: &str, of: &str) -> bool {
    path.strip_prefix(of).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

/// A field is tried in this number of recordings, and at most twice in each.
const TRIED: usize = 16;

#[test]
#[ignore = "reads the recordings in $KERB_STREAM_SHARED"]
fn every_field_is_told_used_or_listed() {
    let (mut used, mut listed, mut wrong) = (0, 0, Vec::new());
    for protocol in [ChatCompletions, Responses, Messages, GenerateContent, CohereChat] {
        let mut recordings = recordings(protocol);
        let untold: BTreeSet<_> = untold(protocol).collect();
        let mut needed = BTreeSet::new();
        for (path, places) in places(&recordings) {
            let is_used = places.iter().any(|place| recordings[place.recording].depends_on(place));
            let path = plain(&path);
            let rules: Vec<_> = untold.iter().filter(|(_, of)| is_inside(&path, of)).collect();
            match (is_used, &*rules) {
                // A field may be used in objects of another kind, and a copy where it comes alone.
                (true, [(what, of)]) if *of != path && !what.starts_with("A copy") => {
                    wrong.push(format!("{protocol}: {path} is used, but it is in {of}"));
                }
                (true, _) => used += 1,
                (false, [rule]) => {
                    needed.insert(**rule);
                    listed += 1;
                }
                (false, rules) => {
                    wrong.push(format!("{protocol}: {path} is not used, and in {rules:?}"));
                }
            }
        }
        let needless = untold.difference(&needed);
        wrong.extend(needless.map(|(_, path)| format!("{protocol}: {path} need not be listed")));
    }
    println!("{used} fields are used, {listed} are listed");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(used > 500 && listed > 900);
}

fn recordings(protocol: Protocol) -> Vec<Recording> {
    let mut recordings = Vec::new();
    for (folder, ..) in READ.iter().filter(|(_, of, _)| *of == protocol) {
        for path in SETS.iter().flat_map(|set| cases(&shared(set).join(folder))) {
            let body = std::fs::read(path.with_extension("sse")).unwrap();
            let config = config(&recordings::json(&path)).protocol(protocol);
            recordings.push(Recording::new(&String::from_utf8_lossy(&body), config));
        }
    }
    // An error has the whole event, so what failed is tried last.
    recordings.sort_by_key(|recording| (recording.has_failed, recording.lines.len()));
    recordings
}

/// Returns the places of each field: the first and the last in each of the first recordings.
fn places(recordings: &[Recording]) -> BTreeMap<String, Vec<Place>> {
    let mut all: BTreeMap<String, Vec<Place>> = BTreeMap::new();
    for (at, recording) in recordings.iter().enumerate() {
        for (line, event) in recording.lines.iter().enumerate() {
            let Line::Data(event) = event else { continue };
            fields(event, "", "", &mut |path, pointer| {
                let places = all.entry(path.to_owned()).or_default();
                let place = Place { recording: at, line, pointer: pointer.to_owned() };
                let known = places.iter().filter(|place| place.recording == at).count();
                if known == 2 {
                    places.pop();
                }
                if known > 0 || places.len() < 2 * TRIED {
                    places.push(place);
                }
            });
        }
    }
    all
}

#[test]
fn the_documentation_has_the_list() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/providers.md");
    let written = std::fs::read_to_string(file).unwrap();
    let mut table = "| What | Protocol | Fields |\n|---|---|---|\n".to_owned();
    for (what, fields) in UNTOLD {
        let mut what = *what;
        for (protocol, paths) in *fields {
            let paths: Vec<_> = paths.split(' ').map(|path| format!("`{path}`")).collect();
            writeln!(table, "| {what} | `{protocol}` | {} |", paths.join(", ")).unwrap();
            what = "";
        }
    }
    let start = "<!-- untold -->\n";
    let from = written.find(start).unwrap() + start.len();
    let to = from + written.split_at(from).1.find("<!-- end -->").unwrap();
    let mut docs = written.clone();
    docs.replace_range(from..to, &table);
    if std::env::var_os("KERB_STREAM_WRITE").is_some() {
        std::fs::write(file, docs).unwrap();
    } else {
        assert!(docs == written, "KERB_STREAM_WRITE=1 cargo test the_documentation_has writes it");
    }
}
