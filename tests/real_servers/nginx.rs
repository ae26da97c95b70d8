//! Tests with nginx in front of the mock. Each of its twenty ports changes the response in another
//! way.

use std::time::{Duration, Instant};

use kerb_stream::{ErrorKind, FinishReason, GenerationConfig, Protocol};

use super::{LIMIT, ask, config, server, watchdog};

const COUNT: (&str, &str) = ("please count", "Cut by the limit");

/// Returns a configuration for port +`offset` of the nginx that `variable` names.
fn port(variable: &str, scheme: &str, offset: u16) -> GenerationConfig {
    let first: u16 = server(variable).parse().expect("a port");
    let base = format!("{scheme}://127.0.0.1:{}/v1", first + offset);
    config(base).ca_file(server("KERB_STREAM_CA"))
}

/// Returns a configuration for port +`offset` of the nginx in front of the mock.
fn behind(scheme: &str, offset: u16) -> GenerationConfig {
    port("KERB_STREAM_NGINX", scheme, offset)
}

#[test]
#[ignore = "needs nginx at $KERB_STREAM_NGINX and, before llama.cpp, at $KERB_STREAM_NGINX_LLAMA"]
fn what_arrives_whole_is_whole() {
    watchdog(LIMIT, || {
        for (what, scheme, offset) in [
            ("buffered, gzip on", "http", 0),
            ("TLS with HTTP/2 on offer", "https", 1),
            ("TLS 1.2", "https", 2),
            ("HTTP/1.0, ended by closing", "http", 6),
            ("Basic auth", "http", 10),
            ("400 bytes a second", "http", 11),
            ("CRLF", "http", 13),
            ("lone CR", "http", 14),
            ("no blank after data:", "http", 15),
            ("no [DONE]", "http", 16),
        ] {
            for variable in ["KERB_STREAM_NGINX", "KERB_STREAM_NGINX_LLAMA"] {
                // On these ports nginx sends the mock `Connection: close`, but the mock responds
                // with `keep-alive`. Every other request then fails between nginx and the mock.
                if variable == "KERB_STREAM_NGINX" && offset > 12 {
                    continue;
                }
                let config = port(variable, scheme, offset)
                    .header("Authorization", "Basic dXNlcjpzZWNyZXQ=")
                    .temperature(0.0)
                    .max_tokens(4)
                    // nginx sends a 502 when llama.cpp closes a connection that nginx kept open.
                    .max_retries(2);
                // The second request uses the same connection if it was kept open.
                for _ in 0..2 {
                    let run = ask(COUNT.0, &config);
                    assert!(run.error.is_none(), "{variable}+{offset} {what}: {}", run.message());
                    let response = run.response;
                    assert_eq!(
                        response.finish_reason,
                        Some(FinishReason::Length),
                        "+{offset} {what}"
                    );
                    let usage = response.usage.expect("usage");
                    assert_eq!(usage.completion_tokens, 4, "+{offset} {what}");
                    if variable == "KERB_STREAM_NGINX" {
                        assert_eq!(response.content, COUNT.1, "+{offset} {what}");
                    } else {
                        assert!(!response.content.is_empty(), "+{offset} {what}");
                    }
                }
            }
        }
    });
}

#[test]
#[ignore = "needs nginx at $KERB_STREAM_NGINX"]
fn what_goes_wrong_is_said() {
    watchdog(LIMIT, || {
        use ErrorKind::{Decode, InvalidRequest, Network, Server};
        let long = "word ".repeat(1000);
        let mut foreign = behind("https", 1);
        foreign.ca_file = None;
        let mut wrong = Vec::new();
        // Each row: the fault, configuration, prompt, and the expected kind, status, whether a
        // retry makes sense, and a part of the message.
        for (what, config, prompt, kind, status, retryable, says) in [
            (
                "+1 a CA nobody knows",
                foreign,
                COUNT.0,
                Network,
                None,
                false,
                "certificate … ca_file",
            ),
            (
                "+1 plain HTTP to a TLS port",
                behind("http", 1),
                COUNT.0,
                InvalidRequest,
                Some(400),
                false,
                "HTTPS",
            ),
            ("+0 TLS to a plain port", behind("https", 0), COUNT.0, Network, None, false, "TLS"),
            (
                "+3 another name",
                behind("https", 3),
                COUNT.0,
                Network,
                None,
                false,
                "certificate … 127.0.0.1",
            ),
            ("+4 self-signed", behind("https", 4), COUNT.0, Network, None, false, "certificate"),
            (
                "+5 expired",
                behind("https", 5),
                COUNT.0,
                Network,
                None,
                false,
                "certificate … expired",
            ),
            (
                "+8 a gateway that gives up",
                behind("http", 8),
                "please be slow",
                Server,
                Some(504),
                true,
                "504 Gateway Time-out",
            ),
            (
                "+9 a redirect",
                behind("http", 9),
                COUNT.0,
                InvalidRequest,
                Some(307),
                false,
                "http://127.0.0.1: … base URL",
            ),
            (
                "+10 no password",
                behind("http", 10),
                COUNT.0,
                ErrorKind::Auth,
                Some(401),
                false,
                "401",
            ),
            (
                "+12 nobody behind the gateway",
                behind("http", 12),
                COUNT.0,
                Server,
                Some(502),
                true,
                "502 Bad Gateway",
            ),
            (
                "+17 a captive portal",
                behind("http", 17),
                COUNT.0,
                Decode,
                None,
                false,
                "Please log in … base URL",
            ),
            (
                "+18 too large",
                behind("http", 18),
                long.as_str(),
                InvalidRequest,
                Some(413),
                false,
                "413 Request Entity Too Large",
            ),
            (
                "+19 closed at once",
                behind("http", 19),
                COUNT.0,
                Network,
                None,
                true,
                "closed the connection without a response",
            ),
        ] {
            let run = ask(prompt, &config);
            let Some(error) = run.error() else {
                wrong.push(format!("{what}: it ended well with {:?}", run.response.content));
                continue;
            };
            let seen = (error.kind(), error.status(), error.is_retryable());
            let shown = run.message();
            if seen != (kind, status, retryable)
                || !says.split(" … ").all(|word| shown.contains(word))
            {
                wrong.push(format!("{what}: {seen:?} {shown}"));
            }
            assert!(!shown.contains('\n'), "{what}: {shown}");
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
    });
}

#[test]
#[ignore = "needs nginx at $KERB_STREAM_NGINX"]
fn a_gateways_limit_is_waited_for() {
    watchdog(LIMIT, || {
        let config = behind("http", 7);
        // The limit is one request every two seconds. An earlier run may still count.
        ask(COUNT.0, &config.clone().max_retries(2)).whole();
        let run = ask(COUNT.0, &config);
        let error = run.failure();
        assert_eq!(error.kind(), ErrorKind::RateLimited, "{error:?}");
        assert_eq!(error.retry_after(), Some(Duration::from_secs(2)));
        assert!(error.to_string().contains("429 Too Many Requests"), "{error}");
        let started = Instant::now();
        let response = ask(COUNT.0, &config.clone().max_retries(2)).whole();
        assert_eq!((response.content.as_str(), response.retries), (COUNT.1, 1));
        assert!(started.elapsed() >= Duration::from_secs(2));
        let impatient = config.max_retries(2).max_retry_wait(Duration::from_secs(1));
        let started = Instant::now();
        let run = ask(COUNT.0, &impatient);
        assert_eq!(run.failure().kind(), ErrorKind::RateLimited, "at once, not after the wait");
        assert!(started.elapsed() < Duration::from_secs(1));
    });
}

#[test]
#[ignore = "needs nginx at $KERB_STREAM_NGINX"]
fn slow_bytes_are_life_but_silence_is_not() {
    watchdog(LIMIT, || {
        // nginx sends 400 bytes a second: it pauses for a second between two blocks, and the whole
        // response takes more than two.
        let patient = behind("http", 11).idle_timeout(Duration::from_millis(2500));
        let started = Instant::now();
        ask(COUNT.0, &patient).whole();
        assert!(started.elapsed() > Duration::from_millis(1500), "{:?}", started.elapsed());
        let hasty = behind("http", 11).idle_timeout(Duration::from_millis(300));
        let run = ask("Say hello.", &hasty);
        assert_eq!(run.failure().kind(), ErrorKind::Timeout, "{:?}", run.failure());
        assert!(run.failure().to_string().contains("idle_timeout"), "{}", run.failure());
    });
}

#[test]
#[ignore = "needs nginx at $KERB_STREAM_NGINX"]
fn a_stream_over_tls_comes_as_it_is_written() {
    watchdog(LIMIT, || {
        for offset in [1, 2] {
            for protocol in [Protocol::ChatCompletions, Protocol::Responses, Protocol::Messages] {
                let run = ask("please be slow", &behind("https", offset).protocol(protocol));
                let response = run.whole();
                let first = response.time_to_first_text.unwrap();
                assert!(
                    response.latency > first + Duration::from_millis(100),
                    "+{offset} {protocol}"
                );
            }
        }
    });
}

#[test]
#[ignore = "needs nginx before llama.cpp at $KERB_STREAM_NGINX_LLAMA"]
fn a_gateway_that_gives_up_while_the_model_reads_is_no_empty_answer() {
    watchdog(LIMIT, || {
        // Reading this prompt takes the model longer than the second that nginx waits. The process
        // id makes the prompt new, so that llama.cpp has it in no cache.
        let prompt = format!("{} {}", std::process::id(), "word ".repeat(3500));
        let run = ask(prompt, &port("KERB_STREAM_NGINX_LLAMA", "http", 8));
        let error = run.failure();
        // llama.cpp sends the headers at once if a slot is free.
        let seen = (error.kind(), error.status());
        let cut = (ErrorKind::Incomplete, None);
        assert!(seen == cut || seen == (ErrorKind::Server, Some(504)), "{error:?}");
        assert!(error.is_retryable(), "{error:?}");
        assert!(run.chunks.is_empty());
    });
}
