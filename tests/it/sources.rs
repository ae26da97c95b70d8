//! What a provider says besides text, reasoning and calls reaches the caller: sources, hosted tools,
//! pictures and log probabilities, in every recorded stream.
//!
//! The recordings are beside the checkout, in the folder that `KERB_STREAM_SHARED` names.

use std::collections::BTreeSet;
use std::io::Cursor;
use std::path::PathBuf;

use kerb_stream::{Activity, GenerationResponse, GenerationStream, Protocol, Source, StreamChunk};
use serde_json::{Value, json};

use crate::recordings::{self, READ, SETS, cases, config};
use crate::support::{Outcome, shared};

/// A recorded stream: its path, its events, and what the caller gets.
struct Recording {
    path: PathBuf,
    protocol: Protocol,
    events: Vec<Value>,
    outcome: Outcome,
}

fn recordings() -> Vec<Recording> {
    let mut recordings = Vec::new();
    for set in SETS {
        for (folder, protocol, _) in READ {
            for path in cases(&shared(set).join(folder)) {
                let bytes = std::fs::read(path.with_extension("sse")).unwrap();
                let config = config(&recordings::json(&path)).protocol(*protocol);
                let text = String::from_utf8_lossy(&bytes).into_owned();
                let events = text.lines().filter_map(|line| line.strip_prefix("data:"));
                let events = events.filter_map(|data| serde_json::from_str(data).ok()).collect();
                let stream = GenerationStream::from_reader(Cursor::new(bytes), config);
                let outcome = Outcome::of(stream);
                recordings.push(Recording { path, protocol: *protocol, events, outcome });
            }
        }
    }
    assert!(recordings.len() > 700, "{}", recordings.len());
    recordings
}

/// Calls `see` with each text in a value, and with the path to it.
fn texts(value: &Value, path: &str, see: &mut impl FnMut(&str, &str)) {
    match value {
        Value::String(text) => see(path, text),
        Value::Array(values) => values.iter().for_each(|it| texts(it, &format!("{path}[]"), see)),
        Value::Object(fields) => {
            fields.iter().for_each(|(name, it)| texts(it, &format!("{path}.{name}"), see));
        }
        _ => {}
    }
}

/// The ends of the paths at which the providers name the sources of an answer.
const SOURCES: [&str; 15] = [
    ".citation.url",
    ".annotation.url",
    ".annotations[].url",
    ".url_citation.url",
    ".citations[]",
    ".citationSources[].uri",
    ".citations[].uri",
    ".web.uri",
    ".retrievedUrl",
    ".search_results[].url",
    ".search_results.results[].url",
    ".action.sources[].url",
    ".content_block.content[].url",
    ".content_block.content.url",
    ".document.url",
];

fn unmarked(url: &str) -> String {
    url.replace("?utm_source=openai", "").replace("&utm_source=openai", "")
}

#[test]
#[ignore = "reads the recordings in $KERB_STREAM_SHARED"]
fn every_cited_url_reaches_the_caller() {
    let (mut named, mut spans, mut with_places) = (0, 0, 0);
    for Recording { path, events, outcome, protocol } in recordings() {
        let mut expected = BTreeSet::new();
        for event in &events {
            texts(event, "", &mut |path, text| {
                let is_source = SOURCES.iter().any(|end| path.ends_with(end));
                if is_source && text.starts_with("http") {
                    expected.insert(text.to_owned());
                }
            });
        }
        let response = &outcome.response;
        let in_chunks = outcome.chunks.iter().flat_map(|chunk| &chunk.sources);
        let told = response.sources.iter().chain(in_chunks);
        let told: BTreeSet<_> = told.filter_map(|source| source.url.clone()).collect();
        let lost: Vec<_> = expected.difference(&told).collect();
        assert!(lost.is_empty(), "{}: {lost:?}", path.display());
        named += expected.len();
        // The numbers are those of the footnotes, in the stream and after it.
        for (at, source) in (1..).zip(&response.sources) {
            assert_eq!(source.number, at, "{}", path.display());
        }
        for source in outcome.chunks.iter().flat_map(|chunk| &chunk.sources) {
            let known = &response.sources[source.number - 1];
            // OpenAI marks the URLs of citations, but not those of found pages.
            let page = |source: &Source| source.url.as_deref().map(unmarked);
            assert_eq!((page(source), &source.id), (page(known), &known.id));
        }
        for source in &response.sources {
            for citation in &source.citations {
                with_places += 1;
                let Some(span) = citation.span.clone() else { continue };
                spans += 1;
                let cited = response.content.get(span).unwrap();
                assert!(!cited.is_empty());
                // OpenAI's places are those of the links.
                let url = source.url.as_deref().unwrap_or_default();
                let page = url.split('?').next().unwrap();
                let is_link = protocol == Protocol::Responses && !url.is_empty();
                assert!(!is_link || cited.contains(page), "{}: {cited:?}", path.display());
            }
        }
    }
    println!("{named} cited URLs, {with_places} citations, {spans} with a place");
    assert!(named > 150 && spans > 100);
}

#[test]
#[ignore = "reads the recordings in $KERB_STREAM_SHARED"]
fn chunks_and_responses_survive_json() {
    for Recording { path, outcome, .. } in recordings() {
        let chunks = serde_json::to_string(&outcome.chunks).unwrap();
        let chunks: Vec<StreamChunk> = serde_json::from_str(&chunks).unwrap();
        assert!(chunks == outcome.chunks, "{}", path.display());
        let response = serde_json::to_string(&outcome.response).unwrap();
        let response: GenerationResponse = serde_json::from_str(&response).unwrap();
        assert_eq!(response, outcome.response, "{}", path.display());
    }
}

/// The names of the tools that ran at a provider in the recordings.
const TOOLS: &str = "advisor ask_question bash_code_execution browser.open browser.search code_execution \
    code_interpreter create_short_url echo file_search google_search image_generation \
    mcp_list_tools search text_editor_code_execution tool_search tool_search_tool_bm25 \
    tool_search_tool_regex web_fetch web_search";

#[test]
#[ignore = "reads the recordings in $KERB_STREAM_SHARED"]
fn what_hosted_tools_do_reaches_the_caller() {
    let (mut names, mut started, mut finished) = (BTreeSet::new(), 0, 0);
    for Recording { path, outcome, .. } in recordings() {
        let mut running = BTreeSet::new();
        for activity in outcome.chunks.iter().flat_map(|chunk| &chunk.activity) {
            assert!(!activity.to_string().contains('\n'), "{activity:?}");
            match activity {
                Activity::ToolStarted { id, name, hosted: true, .. } => {
                    assert!(running.insert(id.clone()), "{} twice: {id}", path.display());
                    names.insert(name.clone());
                    started += 1;
                }
                Activity::ToolFinished { id, name, hosted: true, .. } => {
                    running.remove(id);
                    names.insert(name.clone());
                    finished += 1;
                }
                other => panic!("{}: {other:?}", path.display()),
            }
        }
    }
    println!("{started} started, {finished} finished");
    assert_eq!(names.iter().map(String::as_str).collect::<Vec<_>>().join(" "), TOOLS);
    assert!(started > 100 && finished > 100, "{started} started, {finished} finished");
}

#[test]
#[ignore = "reads the recordings in $KERB_STREAM_SHARED"]
fn raw_chunks_are_all_events_in_order() {
    let mut all = 0;
    for Recording { path, protocol, outcome, .. } in recordings() {
        let bytes = std::fs::read(path.with_extension("sse")).unwrap();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let config = config(&recordings::json(&path)).protocol(protocol).raw(true);
        let stream = GenerationStream::from_reader(Cursor::new(bytes), config);
        let raw = Outcome::of(stream);
        let events: Vec<_> = raw.chunks.iter().filter_map(|chunk| chunk.raw.clone()).collect();
        let lines: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("data:")).collect();
        // Events after an error are read only for their usage, and an event may have two lines.
        let is_simple = raw.error.is_none() && !text.contains("\ndata:{\n");
        if is_simple && events.len() == lines.len() {
            for (event, line) in events.iter().zip(&lines) {
                assert_eq!(event, line.strip_prefix(' ').unwrap_or(line));
            }
            all += 1;
        }
        // Nothing else is different.
        assert_eq!(raw.text(), outcome.text());
        assert_eq!(raw.response.chunk_count, outcome.response.chunk_count, "{}", path.display());
    }
    println!("{all} recordings");
    assert!(all > 650, "{all}");
}

/// The recordings have what the vendors' SDKs read in them. The SDKs do not count Gemini's grounding,
/// and have no log probabilities of reasoning or in Together's form. They call the pages that
/// Perplexity and Xiaomi list citations; for us these are sources without citations.
#[test]
#[ignore = "reads the recordings in $KERB_STREAM_SHARED"]
fn the_vendors_sdks_find_the_same() {
    let mut compared = [0; 3];
    for Recording { path, outcome, protocol, .. } in recordings() {
        let expected = &recordings::json(&path)["expected"];
        let count = |field: &str| expected[field].as_u64().unwrap_or_default() as usize;
        let (mut citations, tokens) = (count("citations"), count("logprob_tokens"));
        let response = &outcome.response;
        let name = path.file_name().unwrap().to_string_lossy();
        if name.starts_with("perplexity") || name.starts_with("xiaomi") {
            assert_eq!(response.sources.is_empty(), citations == 0, "{name}");
            citations = 0;
        }
        let ours: usize = response.sources.iter().map(|source| source.citations.len()).sum();
        let is_grounded = protocol == Protocol::GenerateContent && ours > citations;
        assert!(ours == citations || is_grounded, "{}: {ours}", path.display());
        let ours = response.logprobs.len();
        let has_more = name.starts_with("deepseek") || name.starts_with("together");
        // One token there has no number.
        let has_less = name == "huggingface.genstream-toplogprobs.0.c4035e29.json";
        let is_same = ours + usize::from(has_less) == tokens;
        assert!(is_same || has_more && ours > tokens, "{}: {ours}", path.display());

        let activity = outcome.chunks.iter().flat_map(|chunk| &chunk.activity);
        let mut started = activity.filter_map(|activity| match activity {
            Activity::ToolStarted { id, name, input, .. } => Some((id, name, input)),
            _ => None,
        });
        let calls = expected["server_tool_calls"].as_array().map_or(&[][..], Vec::as_slice);
        for call in calls {
            let (id, name, input) = started.next().unwrap();
            assert_eq!((&call["id"], &call["name"]), (&json!(id), &json!(name)));
            // A single text is shown without its field.
            let arguments = call["arguments"].as_str().unwrap();
            let told: Value = serde_json::from_str(arguments).unwrap_or_default();
            let fields: Vec<_> = told.as_object().into_iter().flatten().collect();
            match *fields {
                [] => assert_eq!(input, ""),
                [(_, Value::String(text))] => assert_eq!(input, text),
                _ => assert_eq!(serde_json::from_str::<Value>(input).unwrap(), told),
            }
        }
        for (sum, count) in compared.iter_mut().zip([citations, tokens, calls.len()]) {
            *sum += count;
        }
    }
    println!("{compared:?} citations, tokens and calls of hosted tools");
    assert_eq!(compared, [116, 295, 48]);
}
