//! Responses with an error status.

use kerb_stream::ErrorKind::{
    Auth, Decode, InvalidRequest, NotFound, Overloaded, Quota, RateLimited, Server,
};
use kerb_stream::Protocol::{ChatCompletions, Messages, Responses};
use serde_json::json;

use super::head::SIGN_IN;
use super::server::{CHUNKED, EVENTS, Scripted, Then, hello};
use super::{Fault, HELLO, fault, twice};

pub(super) fn faults() -> Vec<Fault> {
    vec![
        fault("F80", "400", |s| s.status(400, "invalid_request_error", ""))
            .fails(InvalidRequest, "returned 400: synthetic 400")
            .also("the message has the request id", |seen| seen.message().contains("req_fault")),
        fault("F81", "401", |s| s.status(401, "authentication_error", ""))
            .fails(Auth, "returned 401: synthetic 401"),
        fault("F82", "403", |s| s.status(403, "permission_error", ""))
            .fails(Auth, "returned 403: synthetic 403"),
        fault("F83", "404", |s| s.status(404, "not_found_error", "")).fails(
            NotFound,
            "check the model's name, whether the model supports the request, and the base URL",
        ),
        fault("F84", "408", |s| s.status(408, "timeout_error", "retry-after-ms: 1\r\n"))
            .set(twice)
            .fails(Server, "returned 408")
            .requests(2),
        fault("F85", "409", |s| s.status(409, "conflict_error", "retry-after-ms: 1\r\n"))
            .set(twice)
            .fails(Server, "returned 409")
            .requests(2),
        fault("F86", "413", |s| s.status(413, "request_too_large", ""))
            .fails(InvalidRequest, "returned 413"),
        fault("F87", "422 in FastAPI's format", |s| {
            let detail = json!([{"loc": ["body", "messages"], "msg": "field required",
                "type": "value_error.missing"}]);
            s.json(422, "", &json!({"detail": detail}))
        })
        .fails(InvalidRequest, "field required"),
        fault("F88", "429", |s| s.status(429, "rate_limit_error", ""))
            .fails(RateLimited, "returned 429")
            .requests(3)
            .takes(700, 9_000),
        fault("F89", "429, Retry-After: 1", |s| retry_after(s, "1"))
            .variant("ra=1")
            .set(twice)
            .fails(RateLimited, "try again in 1 s")
            .requests(2)
            .takes(1_000, 9_000),
        fault(
            "F90",
            "429, Retry-After is 2 s after the Date header of the response, whose clock is wrong",
            |s| {
                // This server's clock is many years behind.
                let now = "date: Sun, 06 Nov 1994 08:49:37 GMT\r\n";
                let then = "retry-after: Sun, 06 Nov 1994 08:49:39 GMT\r\n";
                s.status(429, "rate_limit_error", &format!("{now}{then}"))
            },
        )
        .variant("in=2")
        .set(twice)
        .fails(RateLimited, "try again in")
        .requests(2)
        .takes(900, 9_000),
        fault("F91", "429, retry-after-ms: 1500 (2 s when rounded up), and Retry-After: 30, which is ignored", |s| {
            s.status(429, "rate_limit_error", "retry-after-ms: 1500\r\nretry-after: 30\r\n")
        })
        .set(twice)
        .fails(RateLimited, "try again in 2 s")
        .requests(2)
        .takes(1_500, 9_000),
        fault("F92", "429, Retry-After: 86400 (a day)", |s| retry_after(s, "86400"))
            .variant("ra=86400")
            .fails(RateLimited, "try again in 86400 s"),
        fault("F92", "429, Retry-After: 99999999999999999999", |s| {
            retry_after(s, "99999999999999999999")
        })
        .variant("ra=99999999999999999999")
        .fails(RateLimited, "try again in"),
        fault("F92", "429, Retry-After: -5", |s| retry_after(s, "-5"))
            .variant("ra=-5")
            .fails(RateLimited, "returned 429")
            .requests(3),
        fault("F92", "429, Retry-After: NaN", |s| retry_after(s, "NaN"))
            .variant("ra=NaN")
            .fails(RateLimited, "returned 429")
            .requests(3),
        fault("F92", "429, Retry-After: inf", |s| retry_after(s, "inf"))
            .variant("ra=inf")
            .fails(RateLimited, "returned 429")
            .requests(3),
        fault("F92", "429, Retry-After: 1e400", |s| retry_after(s, "1e400"))
            .variant("ra=1e400")
            .fails(RateLimited, "returned 429")
            .requests(3),
        fault("F92", "429, Retry-After: soon", |s| retry_after(s, "soon"))
            .variant("ra=soon")
            .fails(RateLimited, "returned 429")
            .requests(3),
        fault("F93", "429, the credit is used up", |s| {
            let error = json!({"message": "no money", "type": "insufficient_quota",
                "code": "insufficient_quota"});
            s.json(429, "", &json!({"error": error}))
        })
        .on(&[ChatCompletions, Responses, Messages])
        .fails(Quota, "credit or quota is used up"),
        fault("F94", "500", |s| s.status(500, "api_error", "retry-after-ms: 1\r\n"))
            .fails(Server, "returned 500")
            .requests(3),
        fault("F95", "502 with a web page", |s| {
            s.html(
                502,
                "<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>",
            )
        })
        .set(twice)
        .fails(Server, "returned 502: 502 Bad Gateway")
        .requests(2),
        fault("F96", "503, Retry-After: 1", |s| s.status(503, "api_error", "retry-after: 1\r\n"))
            .set(twice)
            .fails(Overloaded, "returned 503")
            .requests(2)
            .takes(1_000, 9_000),
        fault("F97", "504 as plain text", |s| {
            s.answer(504, "content-type: text/plain\r\n", "upstream request timeout")
        })
        .set(twice)
        .fails(Server, "upstream request timeout")
        .requests(2),
        fault("F98", "529", |s| s.status(529, "overloaded_error", ""))
            .set(twice)
            .fails(Overloaded, "returned 529")
            .requests(2),
        fault("F99", "500, x-should-retry: false", |s| {
            s.status(500, "api_error", "x-should-retry: false\r\n")
        })
        .fails(Server, "returned 500"),
        fault("F100", "400, x-should-retry: true", |s| {
            s.status(400, "invalid_request_error", "x-should-retry: true\r\n")
        })
        .fails(InvalidRequest, "returned 400"),
        fault("F101", "503 twice, then a good response", |s| match s.number {
            1 | 2 => s.status(503, "api_error", "retry-after: 0\r\n"),
            _ => s.good(),
        })
        .variant("n=2,status=503")
        .gives(HELLO)
        .requests(3)
        .also("the response counts the retries", |seen| seen.response.retries == 2),
        fault("F101", "Two resets, then a good response", |s| match s.number {
            1 | 2 => s.reset(),
            _ => s.good(),
        })
        .variant("n=2,status=rst")
        .gives(HELLO)
        .requests(3),
        fault("F101", "429 with Retry-After: 1, then a good response", |s| match s.number {
            1 => s.status(429, "api_error", "retry-after: 1\r\n"),
            _ => s.good(),
        })
        .variant("n=1,status=429,ra=1")
        .gives(HELLO)
        .requests(2)
        .takes(1_000, 9_000),
        fault("F102", "299", |s| s.status(299, "invalid_request_error", ""))
            .variant("status=299")
            .fails(Decode, "299: this is not an event stream"),
        fault("F102", "600", |s| s.status(600, "invalid_request_error", ""))
            .variant("status=600")
            .fails(InvalidRequest, "returned 600"),
        fault("F102", "999", |s| s.status(999, "invalid_request_error", ""))
            .variant("status=999")
            .fails(InvalidRequest, "returned 999"),
        fault("F103", "The status line has no reason phrase", |s| {
            let head = format!("HTTP/1.1 200\r\n{EVENTS}connection: close\r\n\r\n");
            s.write_and_close(head + &hello(s.shape))
        })
        .gives("Hello"),
        fault("F104", "402", |s| s.status(402, "billing_error", ""))
            .variant("status=402")
            .fails(Quota, "credit or quota is used up"),
        fault("F104", "418", |s| s.status(418, "invalid_request_error", ""))
            .variant("status=418")
            .fails(InvalidRequest, "returned 418"),
        fault("F105", "The error body never ends", |s| {
            s.write(format!("HTTP/1.1 400 X\r\n{CHUNKED}\r\n"))?;
            s.chunk("{\"error\":{\"message\":\"")?;
            loop {
                s.chunk("x".repeat(1 << 20))?;
            }
        })
        .fails(InvalidRequest, "returned 400"),
        fault("F106", "The error body is not UTF-8", |s| {
            let body =
                b"{\"error\":{\"message\":\"Erreur \xe0 la cl\xe9 \xff\xfe\",\"type\":\"x\"}}";
            s.answer(400, "", body)
        })
        .fails(InvalidRequest, "returned 400: Erreur \u{fffd} la cl\u{fffd}"),
        fault("F107", "The error body is empty", |s| s.answer(500, "retry-after-ms: 1\r\n", ""))
            .set(twice)
            .fails(Server, "returned 500")
            .requests(2),
        fault("F108", "The error body is a web page", |s| s.html(400, SIGN_IN))
            .fails(InvalidRequest, "returned 400: Sign in to WiFi"),
        fault("F109", "`error` is a string", |s| s.answer(400, "", r#"{"error":"just a string"}"#))
            .variant("i=0")
            .fails(InvalidRequest, "just a string"),
        fault("F109", "`error` is null", |s| s.answer(400, "", r#"{"error":null}"#))
            .variant("i=1")
            .fails(InvalidRequest, "returned 400"),
        fault("F109", "`error.message` is null", |s| {
            s.answer(400, "", r#"{"error":{"message":null}}"#)
        })
        .variant("i=2")
        .fails(InvalidRequest, "returned 400"),
        fault("F109", "`error.message` is an object", |s| {
            s.answer(400, "", r#"{"error":{"message":{"nested":["x"]}}}"#)
        })
        .variant("i=3")
        .fails(InvalidRequest, "returned 400"),
        fault("F109", "`message` is at the top level", |s| {
            s.answer(400, "", r#"{"message":"top level","code":7}"#)
        })
        .variant("i=4")
        .fails(InvalidRequest, "top level"),
        fault("F109", "The message is in `detail`", |s| {
            s.answer(400, "", r#"{"detail":"not found"}"#)
        })
        .variant("i=5")
        .fails(InvalidRequest, "not found"),
        fault("F109", "The errors are in a list", |s| {
            s.answer(400, "", r#"{"errors":[{"message":"a"},{"message":"b"}]}"#)
        })
        .variant("i=6")
        .fails(InvalidRequest, "returned 400: a"),
        fault("F109", "The error is in a list of responses (Gemini)", |s| {
            let error = json!({"code": 400, "message": "array (Gemini)",
                "status": "INVALID_ARGUMENT"});
            s.answer(400, "", json!([{"error": error}]).to_string())
        })
        .variant("i=7")
        .fails(InvalidRequest, "array (Gemini)"),
        fault("F109", "The error body is a JSON string", |s| {
            s.answer(400, "", r#""a bare string""#)
        })
        .variant("i=8")
        .fails(InvalidRequest, "a bare string"),
        fault("F109", "The error body is null", |s| s.answer(400, "", "null"))
            .variant("i=9")
            .fails(InvalidRequest, "returned 400"),
        fault("F109", "The error body is a number", |s| s.answer(400, "", "42"))
            .variant("i=10")
            .fails(InvalidRequest, "returned 400"),
        fault("F109", "The error body is truncated JSON", |s| s.answer(400, "", "{"))
            .variant("i=11")
            .fails(InvalidRequest, "returned 400"),
        fault("F109", "`message` occurs twice", |s| {
            s.answer(400, "", r#"{"error":{"message":"a","message":"b"}}"#)
        })
        .variant("i=12")
        .fails(InvalidRequest, "returned 400: b"),
        fault("F109", "The error has Anthropic's format", |s| {
            s.answer(400, "", r#"{"type":"error","error":{"type":"x","message":"y"}}"#)
        })
        .variant("i=13")
        .fails(InvalidRequest, "returned 400: y"),
        fault(
            "F109",
            "The message has half a surrogate pair, and the code is 1e999, which is too large",
            |s| s.answer(400, "", r#"{"error":{"message":"\ud83d","code":1e999}}"#),
        )
        .variant("i=14")
        .fails(InvalidRequest, "returned 400"),
        fault("F109", "The error has vLLM's format", |s| {
            let error = json!({"object": "error", "message": "vLLM", "type": "BadRequestError",
                "param": null, "code": 400});
            s.answer(400, "", error.to_string())
        })
        .variant("i=15")
        .fails(InvalidRequest, "vLLM"),
        fault("F109", "The error has Baidu's format", |s| {
            s.answer(400, "", r#"{"error_code":1,"error_msg":"old style"}"#)
        })
        .variant("i=16")
        .fails(InvalidRequest, "old style"),
        fault("F109", "The error has Cloudflare's format", |s| {
            let error = json!({"code": 10000, "message": "Cloudflare"});
            let body = json!({"success": false, "errors": [error], "result": null});
            s.answer(400, "", body.to_string())
        })
        .variant("i=17")
        .fails(InvalidRequest, "Cloudflare"),
        fault("F110", "The error body stops in the middle", |s| {
            s.write("HTTP/1.1 400 X\r\ncontent-length: 5000\r\n\r\n")?;
            s.write("{\"error\":{\"message\":\"wait")?;
            s.hang()
        })
        .fails(InvalidRequest, "returned 400: {\"error\":{\"message\":\"wait")
        .takes(4_000, 9_000),
        fault("F111", "The error message contains the API key", |s| {
            let names = ["authorization", "x-api-key", "x-goog-api-key"];
            let key = names.iter().find_map(|name| s.request.header(name)).unwrap().to_owned();
            let all = format!("Incorrect API key provided: {key}. All: {:?}", s.request.headers);
            let error = s.shape.error(&all, "authentication_error");
            s.json(401, &format!("x-request-id: {key}\r\n"), &error)
        })
        .fails(Auth, "[redacted]"),
        fault("F112", "The error body is compressed with gzip", |s| {
            s.answer(400, "content-encoding: gzip\r\n", "\u{1f}\u{8b}\u{8}")
        })
        .fails(InvalidRequest, "the error is compressed (gzip)"),
    ]
}

fn retry_after(server: &mut Scripted<'_>, value: &str) -> Then {
    server.status(429, "rate_limit_error", &format!("retry-after: {value}\r\n"))
}
