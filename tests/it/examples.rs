//! Runs each example as a process of its own, without the keys, base URLs and proxies of this
//! machine. `cargo test` builds the examples; `cargo test --test it` alone runs them as they were built
//! last.

use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Output, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::time::Duration;

use kerb_stream::Protocol;
use serde_json::json;

use crate::support::shapes::Shape;
use crate::support::{Connection, Server, answers, demo, watchdog};

const LIMIT: Duration = Duration::from_secs(60);
/// The examples that ask the model on their command line.
const EVERY: [&str; 6] = ["stream", "callback", "analytics", "compare", "chat", "picture"];
const NOTICE: &str = "This is the demo";

#[test]
fn without_a_model_two_examples_ask_the_demo() {
    for (name, answer) in
        [("stream", "Async/await lets"), ("compare", "salt water of the sea.\nA river begins")]
    {
        let ended = run(&mut example(name), "");
        assert_eq!(ended.code, Some(0), "{name}: {}", ended.stderr);
        assert!(ended.stdout.contains(answer), "{name}: {}", ended.stdout);
        assert!(ended.stdout.ends_with('\n'), "{name}");
        assert_eq!(ended.stderr.matches(NOTICE).count(), 1, "{name}: {}", ended.stderr);
        assert!(!ended.stdout.contains(NOTICE), "{name}: {}", ended.stdout);
    }
}

#[test]
fn with_a_model_every_example_does_its_whole_job() {
    let server = demo::start(|_| {}).unwrap();
    for (name, answer) in [
        ("stream", "Async/await lets"),
        ("callback", "First, the reader"),
        ("analytics", "First, the reader"),
        ("compare", "salt water of the sea.\nA river begins"),
        ("chat", "You said “Hello”"),
    ] {
        let ended = run(&mut at(&server, name), "Hello\n");
        assert_eq!(ended.code, Some(0), "{name}: {}", ended.stderr);
        assert!(ended.stdout.contains(answer), "{name}: {}", ended.stdout);
        assert!(ended.stdout.ends_with('\n'), "{name}");
        assert!(!ended.stderr.contains(NOTICE), "{name}: {}", ended.stderr);
    }
}

/// A copy of an example is a whole program; `stream` and `compare` also need the demo.
#[test]
fn an_example_can_be_copied_alone() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("examples");
    let mut examples = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let is_file = path.extension().is_some_and(|it| it == "rs");
        let Ok(source) =
            std::fs::read_to_string(if is_file { path.clone() } else { path.join("main.rs") })
        else {
            continue;
        };
        examples += 1;
        let name = path.file_stem().unwrap().to_str().unwrap();
        let modules: Vec<_> = source.lines().filter(|line| line.starts_with("mod ")).collect();
        let expected: &[&str] = match name {
            "stream" => &["mod demo;"],
            "compare" => &["mod demo;", "mod timeline;"],
            _ => &[],
        };
        assert_eq!(modules, expected, "{name}");
        assert_eq!(source.matches("#[path").count(), usize::from(!expected.is_empty()), "{name}");
    }
    assert_eq!(examples, 10);
}

#[test]
fn without_a_key_an_example_names_the_variable() {
    for name in ["callback", "analytics", "picture"] {
        let ended = run(&mut example(name), "");
        assert_eq!(ended.code, Some(1), "{name}: {}", ended.stderr);
        assert!(ended.stderr.contains("GEMINI_API_KEY"), "{name}: {}", ended.stderr);
    }
}

#[test]
fn nothing_is_held_back() {
    const PIECES: [&str; 4] = ["Hel", "lo ", "wör", "ld"];
    for name in ["stream", "callback", "chat"] {
        // The server sends a piece only when the one before it has been read from the example's output.
        let (read, go) = channel();
        let go = Mutex::new(go);
        let server = server(move |connection| {
            for piece in PIECES {
                connection.event(text(piece))?;
                go.lock().unwrap().recv().unwrap();
            }
            whole(connection)
        });
        let mut example = at(&server, name);
        watchdog(LIMIT, move || {
            let (mut process, stdin, mut stdout) = start(&mut example);
            ask(stdin);
            for piece in PIECES {
                assert_eq!(take(&mut stdout, piece.len()), piece, "{name}");
                read.send(()).unwrap();
            }
            assert!(process.wait().unwrap().success(), "{name}");
        });
    }
}

#[test]
fn a_replayed_pipe_is_not_held_back_either() {
    watchdog(LIMIT, || {
        let (mut process, mut stdin, mut stdout) = start(&mut example("replay"));
        for piece in ["one ", "two ", "three"] {
            write!(stdin, "data: {}\n\n", text(piece)).unwrap();
            assert_eq!(take(&mut stdout, piece.len()), piece);
        }
        let stop = r#"{"choices":[{"delta":{},"finish_reason":"stop"}]}"#;
        write!(stdin, "data: {stop}\n\ndata: [DONE]\n\n").unwrap();
        drop(stdin);
        assert!(process.wait().unwrap().success());
    });
}

#[test]
fn a_reader_that_leaves_ends_an_example_without_a_panic() {
    for name in ["stream", "callback", "chat", "compare", "picture"] {
        let (left, go) = channel::<()>();
        let go = Mutex::new(go);
        // `compare` prints nothing before its first answer is complete.
        let first = AtomicBool::new(name == "compare");
        let server = server(move |connection| {
            connection.event(text("Hello"))?;
            if !first.swap(false, Ordering::Relaxed) {
                // This waits until the test has dropped the reader of the example's output.
                let _ = go.lock().unwrap().recv();
            }
            // A process that another test is starting may hold the pipe open for a moment, so that
            // the first of these still finds a reader.
            for _ in 0..10_000 {
                connection.event(text(" world"))?;
            }
            whole(connection)
        });
        let mut example = at(&server, name);
        watchdog(LIMIT, move || {
            let (process, stdin, mut stdout) = start(&mut example);
            ask(stdin);
            take(&mut stdout, 5);
            drop((stdout, left));
            let ended = Ended::from(process.wait_with_output().unwrap());
            assert_eq!(ended.code, Some(1), "{name}: {}", ended.stderr);
            assert!(ended.stderr.contains("Error: "), "{name}: {}", ended.stderr);
            assert!(!ended.stderr.contains("panicked"), "{name}: {}", ended.stderr);
        });
    }
}

#[test]
fn a_cut_answer_is_printed_and_then_an_error() {
    for name in ["stream", "callback", "chat", "picture"] {
        let server = server(|connection| {
            connection.event(text("Half an "))?;
            connection.event(text("answer"))?;
            connection.end()
        });
        let ended = run(&mut at(&server, name), "Hello\nHello again\n");
        assert_eq!(ended.code, Some(1), "{name}: {}", ended.stderr);
        assert_eq!(ended.stdout, "Half an answer\n", "{name}");
        assert!(ended.stderr.contains("Error: "), "{name}: {}", ended.stderr);
        assert_eq!(server.requests().len(), 1, "{name}");
    }
    let recording = format!("data: {}\n\n", text("Half an answer"));
    let ended = run(&mut example("replay"), &recording);
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(1), "Half an answer\n"));
    assert!(ended.stderr.starts_with("Error: "), "{}", ended.stderr);
}

#[test]
fn a_wrong_key_is_told_and_not_shown() {
    for name in EVERY {
        let server = Server::start(|connection| {
            connection.request()?;
            let error =
                json!({"message": "Incorrect API key provided.", "code": "invalid_api_key"});
            let body = json!({ "error": error }).to_string();
            connection.answer("401 Unauthorized", "application/json", &body)
        });
        let ended = run(&mut at(&server.unwrap(), name), "Hello\n");
        assert_eq!((ended.code, ended.stdout.trim()), (Some(1), ""), "{name}");
        for part in ["Error: ", "401", "Incorrect API key provided", "OPENAI_API_KEY"] {
            assert!(ended.stderr.contains(part), "{name}: {}", ended.stderr);
        }
        assert!(!ended.stderr.contains("sk-test"), "{name}: {}", ended.stderr);
    }
}

#[test]
fn what_a_model_writes_cannot_drive_the_terminal() {
    for name in EVERY {
        let server = server(|connection| {
            connection.event(text("\u{1b}[2J\u{7}"))?;
            whole(connection)
        });
        let ended = run(&mut at(&server, name), "Hello\n");
        assert!(ended.stdout.starts_with("␛[2J␇\n"), "{name}: {:?}", ended.stdout);
        assert!(!ended.stdout.contains('\u{1b}'), "{name}: {:?}", ended.stdout);
    }
}

#[test]
fn the_command_line_names_model_and_prompt() {
    let server = server(whole);
    for name in ["stream", "compare"] {
        let ended = run(at(&server, name).arg("Why is the sky blue?"), "");
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        let request = server.requests().pop().unwrap();
        assert_eq!(request.json()["model"], "gpt-test");
        assert_eq!(request.json()["messages"][0]["content"], "Why is the sky blue?");
        assert_eq!(request.header("authorization"), Some("Bearer sk-test"));
    }
}

#[test]
fn conversation_keeps_what_was_said_and_drops_a_question_that_failed() {
    let server = answers([
        CLAUDE.whole(&["One."]),
        String::new(),
        CLAUDE.start() + &CLAUDE.text("Half"),
        CLAUDE.whole(&["Two."]),
    ]);
    let mut conversation = at_claude(&server, "conversation");
    let ended = run(&mut conversation, "First\nLost\nCut\nLast\n");
    assert_eq!((ended.code, &*ended.stdout), (Some(0), "One.\n\nHalf\nTwo.\n"));
    assert_eq!(ended.stderr.matches("\nerror: anthropic").count(), 2, "{}", ended.stderr);
    let last = &server.requests()[3].json()["messages"];
    let said = [
        ("user", "First"),
        ("assistant", "One."),
        ("user", "Cut"),
        ("assistant", "Half"),
        ("user", "Last"),
    ];
    let said = said.map(|(role, text)| json!({"role": role, "content": text}));
    assert_eq!(*last, json!(said));
}

#[cfg(feature = "schemars")] // The example needs this feature.
mod tools {
    use super::*;

    /// Returns a response with a call of the tool `note`.
    fn note(text: &str) -> String {
        let call = CLAUDE.call(1, &[&json!({ "text": text }).to_string()]);
        CLAUDE.start() + &call.replace("\"name\":\"f\"", "\"name\":\"note\"") + &CLAUDE.ending()
    }

    /// A folder for the history, which is removed afterwards.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let name = format!("kerb-stream-{name}-{}", std::process::id());
            let folder = std::env::temp_dir().join(name);
            std::fs::create_dir_all(&folder).unwrap();
            Self(folder)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn tools_asks_and_tells_the_model_what_the_person_said() {
        let weather = CLAUDE.call(1, &["{\"city\":\"Oslo\"}"]).replace("\"f\"", "\"weather\"");
        let both = CLAUDE.start() + &weather + &note("a").replace(&CLAUDE.start(), "");
        let server = answers([both, note("b"), CLAUDE.whole(&["Do", "ne."])]);
        let folder = Folder::new("asks");
        let mut example = at_claude(&server, "tools");
        let ended = run(example.arg("Note it.").current_dir(&folder.0), "n\ny\n");
        assert_eq!((ended.code, &*ended.stdout), (Some(0), "Done.\n[\"b\"]\n"), "{}", ended.stderr);
        for part in [
            "· weather: {\"city\":\"Oslo\"}\n",
            "· weather has finished: It rains in Oslo.\n",
            "Write down \"a\"? [y/N] \n· note has failed: the person said no\n",
            "Write down \"b\"? [y/N] \n· note has finished: Noted, 1 in all.\n",
        ] {
            assert!(ended.stderr.contains(part), "{part}: {}", ended.stderr);
        }
        let told = server.requests()[1].json()["messages"].to_string();
        assert!(told.contains("It rains in Oslo.") && told.contains("the person said no"));

        // The next question continues the saved conversation.
        let server = answers([CLAUDE.whole(&["Yes."])]);
        let mut example = at_claude(&server, "tools");
        let ended = run(example.arg("Again?").current_dir(&folder.0), "");
        assert_eq!((ended.code, &*ended.stdout), (Some(0), "Yes.\n[]\n"), "{}", ended.stderr);
        let sent = server.requests()[0].json()["messages"].to_string();
        assert!(sent.contains("Done.") && sent.contains("Again?"), "{sent}");
    }

    #[test]
    fn tools_goes_on_with_the_calls_that_did_not_run() {
        let server = answers([(); 9].map(|()| note("x")));
        let folder = Folder::new("resumes");
        let mut example = at_claude(&server, "tools");
        let ended = run(example.arg("Note.").current_dir(&folder.0), &"y\n".repeat(9));
        assert_eq!(ended.code, Some(1));
        assert!(ended.stderr.contains("`max_turns` is 8; raise it"), "{}", ended.stderr);
        assert_eq!(server.requests().len(), 8);

        let server = answers([CLAUDE.whole(&["Done."])]);
        let mut example = at_claude(&server, "tools");
        let ended = run(example.current_dir(&folder.0), "n\n");
        assert_eq!((ended.code, &*ended.stdout), (Some(0), "Done.\n[]\n"), "{}", ended.stderr);
        let [request] = &*server.requests() else { panic!() };
        let last = request.json()["messages"].as_array().unwrap().last().unwrap().to_string();
        assert!(last.contains("the person said no"), "{last}");
    }

    #[test]
    fn tools_saves_the_text_of_an_answer_that_was_cut() {
        let server = answers([CLAUDE.start() + &CLAUDE.text("Half an answer")]);
        let folder = Folder::new("cut");
        let mut example = at_claude(&server, "tools");
        let ended = run(example.arg("Tell me.").current_dir(&folder.0), "");
        assert_eq!((ended.code, &*ended.stdout), (Some(1), "Half an answer\n[]\n"));
        assert!(ended.stderr.contains("Error: anthropic"), "{}", ended.stderr);
        let saved = std::fs::read_to_string(folder.0.join("history.json")).unwrap();
        assert!(saved.contains("Half an answer"), "{saved}");
    }

    #[test]
    fn tools_without_a_key_names_the_variable() {
        let folder = Folder::new("key");
        let ended = run(example("tools").arg("Hi").current_dir(&folder.0), "");
        assert_eq!(ended.code, Some(1));
        assert!(ended.stderr.contains("ANTHROPIC_API_KEY"), "{}", ended.stderr);
    }
}

#[test]
fn search_prints_footnotes_and_shows_what_the_search_does() {
    let canned = include_bytes!("../../examples/search.sse");
    let server = Server::start(move |connection| {
        while connection.request()?.is_some() {
            connection.start()?;
            connection.chunk(canned)?;
            connection.chunk("")?;
        }
        Ok(())
    });
    let server = server.unwrap();
    let alone = run(&mut example("search"), "");
    let mut asked = example("search");
    asked.env("ANTHROPIC_API_KEY", "k").env("ANTHROPIC_BASE_URL", server.url());
    let asked = run(asked.args(["claude-sonnet-5", "How tall?"]), "");
    assert_eq!((alone.code, asked.code), (Some(0), Some(0)), "{}", asked.stderr);
    assert_eq!(alone.stdout, asked.stdout);
    for part in [
        "a coast redwood of 116 m in California[1]. You",
        "since 2022[2], and its height was last measured in 2019[1].\n",
        "[2] Visiting the tall trees <https://parks.example/tall-trees>\n    for “the path to it",
    ] {
        assert!(asked.stdout.contains(part), "{part}: {}", asked.stdout);
    }
    // The third source was found, but it is not cited.
    assert!(!asked.stdout.contains("[3]"), "{}", asked.stdout);
    let activity = "· web_search: tallest tree height\n· web_search has finished\n";
    assert_eq!(asked.stderr, activity);
    assert!(
        alone.stderr.starts_with("This is a canned answer.") && alone.stderr.ends_with(activity)
    );
    let request = server.requests()[0].json();
    assert_eq!(request["tools"][0]["name"], "web_search");
    assert_eq!(request["messages"][0]["content"], "How tall?");
}

#[test]
fn a_picture_is_saved_and_never_replaces_a_file() {
    let part = json!({"inlineData": {"mimeType": "image/png", "data": "iVBORw0KGgo="}});
    let parts = json!([{"text": "Here it is."}, part]);
    let event = json!({"candidates": [{"content": {"parts": parts}, "finishReason": "STOP"}]});
    let server = server(move |connection| {
        connection.event(&event)?;
        connection.end()
    });
    let folder = std::env::temp_dir().join(format!("kerb-stream-picture-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let draw = || {
        let mut picture = example("picture");
        picture.env("GEMINI_API_KEY", "k").env("GOOGLE_GEMINI_BASE_URL", server.url());
        run(picture.current_dir(&folder), "")
    };
    let drawn = draw();
    assert_eq!((drawn.code, &*drawn.stdout), (Some(0), "Here it is.\n"), "{}", drawn.stderr);
    assert_eq!(drawn.stderr, "picture-1.png: 8 bytes\n");
    assert_eq!(std::fs::read(folder.join("picture-1.png")).unwrap(), b"\x89PNG\r\n\x1a\n");
    let again = draw();
    assert_eq!((again.code, &*again.stderr), (Some(0), "picture-2.png: 8 bytes\n"));
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn callback_counts_what_came() {
    let server = server(|connection| {
        connection.event(json!({"choices": [{"delta": {"role": "assistant", "content": ""}}]}))?;
        for piece in ["one ", "two ", "three"] {
            connection.event(text(piece))?;
        }
        whole(connection)
    });
    let ended = run(&mut at(&server, "callback"), "");
    assert_eq!(ended.stdout, "one two three\n", "{}", ended.stderr);
    let lines: Vec<_> = ended.stderr.lines().collect();
    // The event with the role alone gives no chunk; the one with the finish reason does.
    assert_eq!(lines[0], "chunks         4, 13 characters");
    assert_eq!(lines[3], "finish reason  Stop");
    let number = |line: &str| line.split_whitespace().rev().nth(1).unwrap().parse::<f64>().unwrap();
    let (span, gap) = (number(lines[1]), number(lines[2]));
    assert!((span * 1e3 - 3.0 * gap).abs() < 1.0, "{span} s of three gaps of {gap} ms");
}

#[test]
fn compare_draws_both_timelines() {
    let file = std::env::temp_dir().join(format!("kerb-stream-{}.svg", std::process::id()));
    let ended = run(example("compare").arg("--svg").arg(&file), "");
    let picture = std::fs::read_to_string(&file);
    let _ = std::fs::remove_file(&file);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    for bar in ["generate         ░", "generate_stream  "] {
        let row = ended.stderr.lines().find(|line| line.starts_with(bar));
        assert!(row.unwrap().contains('█'), "{}", ended.stderr);
    }
    let picture = picture.unwrap();
    let picture = roxmltree::Document::parse(&picture).unwrap();
    let names: Vec<_> = picture
        .descendants()
        .filter(|node| node.attribute("class") == Some("name"))
        .filter_map(|node| node.text())
        .collect();
    assert_eq!(names, ["generate", "generate_stream"]);
}

#[test]
fn chat_keeps_the_history() {
    let server = server(|connection| {
        connection.event(text("An answer."))?;
        whole(connection)
    });
    let ended = run(at(&server, "chat").arg("One"), "\nTwo\n");
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    assert_eq!(ended.stdout, "An answer.\nAn answer.\n");
    assert_eq!(said(&server, 0), ["user"]);
    assert_eq!(said(&server, 1), ["user", "assistant: An answer.", "user"]);
}

#[cfg(unix)]
#[test]
fn an_interrupt_stops_the_answer_and_not_the_chat() {
    for (name, protocol, printed, told) in [
        ("chat", Protocol::ChatCompletions, "\n", "(stopped)\n"),
        ("conversation", Protocol::Messages, " [stopped]\n", ""),
    ] {
        let shape = Shape(protocol);
        let server = Server::start(move |connection| {
            while connection.request()?.is_some() {
                connection.start()?;
                if connection.number == 0 {
                    connection.chunk(shape.start() + &shape.text("A long "))?;
                    connection.wait_until_closed();
                    break;
                }
                connection.chunk(shape.whole(&["A short one."]))?;
                connection.chunk("")?;
            }
            Ok(())
        });
        let server = server.unwrap();
        let of = if name == "chat" { at } else { at_claude };
        let mut example = of(&server, name);
        let ended = watchdog(LIMIT, move || {
            let (process, mut stdin, mut stdout) = start(&mut example);
            stdin.write_all(b"One\n").unwrap();
            assert_eq!(take(&mut stdout, 7), "A long ");
            let interrupt = format!("kill -INT {}", process.id());
            assert!(Command::new("sh").args(["-c", &interrupt]).status().unwrap().success());
            assert_eq!(take(&mut stdout, printed.len()), printed);
            stdin.write_all(b"Two\n").unwrap();
            drop(stdin);
            let mut rest = String::new();
            stdout.read_to_string(&mut rest).unwrap();
            assert_eq!(rest, "A short one.\n");
            Ended::from(process.wait_with_output().unwrap())
        });
        assert_eq!((ended.code, &*ended.stderr), (Some(0), told), "{name}");
        assert_eq!(said(&server, 1), ["user", "assistant: A long ", "user"], "{name}");
    }
}

#[test]
fn replay_prints_a_chunk_a_line_as_json() {
    let stop = json!({"choices": [{"delta": {}, "finish_reason": "stop"}]});
    let recording = format!("data: {}\n\ndata: {stop}\n\ndata: [DONE]\n\n", text("Hé\u{9b}2J"));
    let ended =
        run(example("replay").args(["--json", "--protocol", "chat_completions", "-"]), &recording);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let chunks: Vec<serde_json::Value> =
        ended.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(chunks[0]["content"], "Hé\u{9b}2J");
    assert!(!ended.stdout.contains('\u{9b}'), "what drives a terminal is escaped");
    assert_eq!(chunks[1]["finish_reason"], "stop");
    assert_eq!(chunks.len(), 2);

    let ended = run(example("replay").args(["--protocol", "smoke-signals"]), "");
    assert_eq!(ended.code, Some(1));
    assert!(ended.stderr.contains("chat_completions"), "names the known ones: {}", ended.stderr);
}

/// Returns an example in an environment without keys, in which the demo does not pause.
fn example(name: &str) -> Command {
    let test = std::env::current_exe().unwrap();
    let target: PathBuf = test.ancestors().nth(2).unwrap().join("examples");
    let program = target.join(name).with_extension(std::env::consts::EXE_EXTENSION);
    assert!(program.exists(), "{name} is not built: run `cargo test`, or `cargo build --examples`");
    let mut command = Command::new(program);
    command.env_clear().env("DEMO_PACE", "0");
    // Windows opens no sockets without this variable.
    command.envs(std::env::var_os("SystemRoot").map(|root| ("SystemRoot", root)));
    command
}

/// Returns an example that asks a model of OpenAI, whose base URL is that of `server`.
fn at(server: &Server, name: &str) -> Command {
    let mut command = example(name);
    command.env("OPENAI_API_KEY", "sk-test").env("OPENAI_BASE_URL", server.url());
    command.arg("openai::gpt-test");
    command
}

/// The events of Claude, whom two examples ask.
const CLAUDE: Shape = Shape(Protocol::Messages);

/// Returns an example that asks Claude, whose base URL is that of `server`.
fn at_claude(server: &Server, name: &str) -> Command {
    let mut command = example(name);
    command.env("ANTHROPIC_API_KEY", "sk-test").env("ANTHROPIC_BASE_URL", server.url());
    command
}

/// Starts a server that answers each request with the events that `answer` sends.
fn server(
    answer: impl Fn(&mut Connection) -> std::io::Result<()> + Send + Sync + 'static,
) -> Server {
    let server = Server::start(move |connection| {
        while connection.request()?.is_some() {
            connection.start()?;
            answer(connection)?;
        }
        Ok(())
    });
    server.unwrap()
}

/// Returns the data of an event with a piece of text.
fn text(piece: &str) -> serde_json::Value {
    json!({"choices": [{"index": 0, "delta": {"content": piece}, "finish_reason": null}]})
}

/// Sends the end of an answer that is not cut.
fn whole(connection: &mut Connection) -> std::io::Result<()> {
    connection.event(json!({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}))?;
    connection.event("[DONE]")?;
    connection.end()
}

/// Returns the conversation in a request: the roles, and the text of the assistant's messages.
fn said(server: &Server, request: usize) -> Vec<String> {
    let messages = server.requests()[request].json()["messages"].clone();
    let messages = messages.as_array().unwrap().iter();
    let said = messages.map(|message| match message["role"].as_str().unwrap() {
        "assistant" => format!("assistant: {}", message["content"].as_str().unwrap()),
        role => role.to_owned(),
    });
    said.collect()
}

fn start(command: &mut Command) -> (Child, ChildStdin, ChildStdout) {
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut process = command.spawn().unwrap();
    let (stdin, stdout) = (process.stdin.take().unwrap(), process.stdout.take().unwrap());
    (process, stdin, stdout)
}

/// Writes a question. Only `chat` reads it; the other examples may have ended.
fn ask(mut stdin: ChildStdin) {
    let _ = stdin.write_all(b"Hello\n");
}

fn take(stdout: &mut ChildStdout, bytes: usize) -> String {
    let mut taken = vec![0; bytes];
    stdout.read_exact(&mut taken).unwrap();
    String::from_utf8(taken).unwrap()
}

fn run(command: &mut Command, stdin: &str) -> Ended {
    let (process, mut input, mut stdout) = start(command);
    let stdin = stdin.to_owned();
    watchdog(LIMIT, move || {
        let _ = input.write_all(stdin.as_bytes());
        drop(input);
        let mut printed = String::new();
        stdout.read_to_string(&mut printed).unwrap();
        let ended = Ended::from(process.wait_with_output().unwrap());
        Ended { stdout: printed, ..ended }
    })
}

/// The exit code and the output of a process.
struct Ended {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl From<Output> for Ended {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}
