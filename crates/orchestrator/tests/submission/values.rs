//! What goes into a submission and what comes out of it.

use bytes::Bytes;
use orchestrator::host::MAX_MESSAGE_BYTES;
use protocol::Value;
use protocol::commons::{Argument, Variant, VariantType};

use crate::host::{Host, json, keyword, request};

const ECHO: &str = "
class Echo:
    tick = predict = print
    def echo(self, value): return value
    def kind(self, value): return type(value).__name__
    def pair(self, first, *, second): return [first, second]
    def big(self, size): return 'x' * size
    def evaluate(self, code): return eval(code)
";

#[tokio::test]
async fn every_value_arrives_as_its_python_type_and_comes_back() {
    let host = Host::of(ECHO).await;
    let mut client = host.ready_client().await;
    let cases = [
        (Value::None, "NoneType"),
        (Value::Double(-0.5), "float"),
        (Value::Double(f64::INFINITY), "float"),
        (Value::Int(i64::MIN), "int"),
        (Value::String("é\u{0}\n".into()), "str"),
        (json(r#"{"a":[1,null,NaN,-Infinity]}"#), "dict"),
        (json("[]"), "list"),
        (json("true"), "bool"),
    ];
    for (value, kind) in cases {
        let arguments = [value.clone()];
        assert_eq!(client.succeed("kind", &arguments).await, Value::String(kind.into()));
        assert_eq!(client.succeed("echo", &arguments).await, value);
    }
}

#[tokio::test]
async fn what_python_writes_as_json_is_sent_as_json() {
    let host = Host::of(ECHO).await;
    let mut client = host.ready_client().await;
    let cases = [
        ("(1, 'a', None)", r#"[1,"a",null]"#),
        ("{60: [], True: float('nan')}", r#"{"60":[],"true":NaN}"#),
        ("2 ** 64", "18446744073709551616"),
        ("'\\ud800',", r#"["\ud800"]"#),
    ];
    for (code, expected) in cases {
        let answer = client.succeed("evaluate", &[Value::String(code.into())]).await;
        assert_eq!(answer, json(expected), "{code}");
    }
}

#[tokio::test]
async fn an_answer_that_cannot_be_sent_is_the_models_failure_in_words() {
    let host = Host::of(ECHO).await;
    let mut client = host.ready_client().await;
    let cases = [
        (
            "object()",
            "what evaluate returned cannot be sent: TypeError: a value of type object has no JSON form",
        ),
        ("{1, 2}", "a value of type set has no JSON form"),
        ("'\\ud800'", "UnicodeEncodeError"),
        ("{(1, 2): 3}", "keys must be str, int, float, bool or None, not tuple"),
        ("(x := []).append(x) or x", "Circular reference"),
        ("(i for i in [])", "a value of type generator has no JSON form"),
    ];
    for (code, expected) in cases {
        let (status, message) = client.fail("evaluate", &[Value::String(code.into())]).await;
        assert_eq!(status, "MODEL_FAILED", "{code}");
        assert!(message.contains(expected), "{code}: {message}");
    }
}

#[tokio::test]
async fn an_answer_fills_a_message_and_not_more() {
    let host = Host::of(ECHO).await;
    let mut client = host.ready_client().await;
    let largest = i64::try_from(MAX_MESSAGE_BYTES - 1024).unwrap();
    let Value::String(text) = client.succeed("big", &[Value::Int(largest)]).await else { panic!("no text") };
    assert_eq!(text.len(), MAX_MESSAGE_BYTES - 1024);
    for size in [largest + 1, 300_000_000] {
        let (code, message) = client.fail("big", &[Value::Int(size)]).await;
        assert_eq!(code, "MODEL_FAILED");
        assert_eq!(
            message,
            format!("the answer of big has {size} bytes, more than the {largest} of a message")
        );
    }
    let text = Value::String("x".repeat(60 * 1024 * 1024));
    assert_eq!(client.succeed("kind", &[text]).await, Value::String("str".into()));
}

#[tokio::test]
async fn arguments_come_by_position_and_keyword_in_any_order() {
    let host = Host::of(ECHO).await;
    let mut client = host.ready_client().await;
    let mut call = request("pair", &[Value::Int(1)]);
    call.method_kw_arguments = vec![keyword("second", Value::Int(2))];
    let response = client.0.call(call).await.unwrap().into_inner();
    assert_eq!(Value::from_variant(&response.method_response.unwrap()), Ok(json("[1,2]")));
    let mut call = request("evaluate", &[]);
    call.method_kw_arguments = vec![keyword("code", Value::String("1".into()))];
    assert_eq!(client.0.call(call).await.unwrap().into_inner().status.unwrap().code, "SUCCESS");
}

#[tokio::test]
async fn who_made_a_mistake_is_told_apart() {
    let host = Host::of(ECHO).await;
    let mut client = host.ready_client().await;
    let bad_implementations: [(&str, Vec<Value>, &str); 5] = [
        ("fly", vec![], "Echo has no method `fly`"),
        ("__init__", vec![], "Echo has no method `__init__`"),
        ("__class__", vec![], "Echo has no method `__class__`"),
        (
            "kind",
            vec![],
            "kind(value) does not take the game's arguments: missing a required argument: 'value'",
        ),
        ("kind", vec![Value::None, Value::None], "too many positional arguments"),
    ];
    for (method, arguments, expected) in bad_implementations {
        let (code, message) = client.fail(method, &arguments).await;
        assert_eq!(code, "BAD_IMPLEMENTATION", "{message}");
        assert!(message.contains(expected), "{message}");
    }
    let variant =
        |kind: i32, value: &'static [u8]| Variant { r#type: kind, value: Bytes::from_static(value) };
    let invalid = [
        (Some(variant(VariantType::Int.into(), b"1234")), "the argument 1 cannot be read"),
        (Some(variant(VariantType::String.into(), b"\xff")), "the argument 1 cannot be read"),
        (Some(variant(VariantType::Json.into(), b"{")), "JSONDecodeError"),
        (Some(variant(9, b"")), "the argument 1 cannot be read"),
        (Some(variant(1000, b"")), "the argument 1 cannot be read"),
        (None, "an argument has no value"),
    ];
    for (data, expected) in invalid {
        let mut call = request("echo", &[]);
        call.method_arguments = vec![Argument { position: 1, data }];
        let status = client.0.call(call).await.unwrap().into_inner().status.unwrap();
        assert_eq!(status.code, "INVALID_ARGUMENT", "{}", status.message);
        assert!(status.message.contains(expected), "{}", status.message);
    }
}
