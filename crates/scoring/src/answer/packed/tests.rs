use proptest::prelude::*;

use super::contents::Template;
use super::input::{Input, PADDING};
use super::*;
use crate::Distribution;
use crate::answer::{Method, pack_answer, parse_answer};
use domain::Span;

const NORM: &str = r#"{"type": "builtin", "name": "norm", "params": {"loc": 0.0, "scale": 0.01}}"#;

fn asked(steps: &[Span], method: Method) -> Expected {
    Expected { horizon: Span::HOUR, steps: steps.to_vec(), method }
}

fn hour_by_five_minutes() -> Expected {
    asked(&[Span::minutes(5)], Method::Predict)
}

fn packed(text: &str, expected: &Expected) -> PackedAnswer {
    pack_answer(text.as_bytes(), expected, &Limits::NONE).unwrap().1
}

fn contents(stored: &[u8]) -> Result<Contents, UnreadableAnswer> {
    match frame::open(stored)? {
        Opened::Packed(contents) => Contents::read(contents.input()),
        Opened::Text(text) => panic!("{text} is not packed"),
    }
}

fn parsed(text: &str, expected: &Expected) -> Answer {
    parse_answer(text.as_bytes(), expected, &Limits::NONE).unwrap()
}

/// Everything that a density consists of, to the bit, and which of them are shared.
fn bits(answer: &Answer) -> Vec<(Span, String, bool)> {
    let of_step = |step: &StepAnswer| {
        let densities = step.densities.iter().enumerate();
        let bits = densities.map(|(k, density)| {
            let is_shared = k > 0 && Arc::ptr_eq(density, &step.densities[k - 1]);
            (step.step, format!("{density:?} {}", density.cdf(0.1).to_bits()), is_shared)
        });
        bits.collect::<Vec<_>>()
    };
    answer.steps.iter().flat_map(of_step).collect()
}

/// Text, packed form and the text that is made from that have the same densities.
fn check_round_trip(text: &str, expected: &Expected) -> PackedAnswer {
    let (answer, packed) = pack_answer(text.as_bytes(), expected, &Limits::NONE).unwrap();
    assert_eq!(bits(&answer), bits(&parsed(text, expected)));
    assert_eq!(bits(&packed.unpack(expected).unwrap()), bits(&answer), "{text}");
    let json = packed.to_json().unwrap();
    assert_eq!(bits(&parsed(&json, expected)), bits(&answer), "{json}");
    assert_eq!(self::packed(&json, expected).to_json().unwrap(), json);
    packed
}

fn twelve(element: impl Fn(usize) -> String) -> String {
    format!("[{}]", (0..12).map(element).collect::<Vec<_>>().join(", "))
}

#[test]
fn numbers_of_every_kind_come_back_to_the_bit() {
    for number in [
        "0",
        "-0",
        "-0.0",
        "0.1",
        "-2.5e-3",
        "1e22",
        "1e23",
        "1e-22",
        "1e-23",
        "4.9e-324",
        "1.7976931348623157e308",
        "9007199254740991",
        "9007199254740992",
        "9007199254740993",
        "123456789.123456789",
        "0.30000000000000004",
        "2.2250738585072011e-308",
        "1e15",
        "4503599627370497.5",
    ] {
        let with = |number: &str| NORM.replace("0.0,", &format!("{number},"));
        check_round_trip(&twelve(|_| with(number)), &hour_by_five_minutes());
        check_round_trip(
            &twelve(|k| with(if k % 3 == 0 { number } else { "0.25" })),
            &hour_by_five_minutes(),
        );
    }
}

#[test]
fn the_form_is_what_was_released() {
    let text = twelve(|k| NORM.replace("0.01", if k < 9 { "0.01" } else { "0.5" }));
    let contents = contents(packed(&text, &hour_by_five_minutes()).as_bytes()).unwrap();
    let words = NORM.replace("0.01", "\0").replace("0.0", "\0");
    let numbers = vec![0.0, 0.01, 0.0, 0.5];
    let run = |template, count| contents::Run { template, count };
    let expected = Contents {
        form: Form::List,
        lists: vec![List { step: Span::minutes(5), count: 12 }],
        templates: vec![Template { words: words.clone(), numbers }],
        runs: vec![run(Some(0), 1), run(None, 8), run(Some(0), 1), run(None, 2)],
    };
    assert_eq!(contents, expected);
    let mut bytes = vec![0, 1, 172, 2, 12, 1, words.len() as u8];
    bytes.extend(words.as_bytes());
    // Runs; then decimals over 10²: 0, 1, 0, 50 in six bits each.
    bytes.extend([4, 1, 1, 0, 8, 1, 1, 0, 2, 1, 2, 6, 0, 0b0100_0000, 0, 0b1100_1000]);
    assert_eq!(contents.write(), bytes);
}

#[test]
fn as_text_it_has_the_words_that_were_sent_and_the_shortest_numbers() {
    let element = r#"{ "type":"scipy", "name": "norm", "note": [1e999, -1e999, "\u00e9"], "params": {"loc":-0.0,"scale":0.0100} }"#;
    let text = format!("[{element}  ,{}]", [NORM; 11].join(","));
    let json = check_round_trip(&text, &hour_by_five_minutes()).to_json().unwrap();
    assert_eq!(json, format!("[{}, {}]", element.replace("0.0100", "0.01"), [NORM; 11].join(", ")));
}

#[test]
fn a_bucket_dictionary_for_the_whole_horizon_comes_back() {
    let text = r#"{"-0.01": 0.2, "0.0": 0.50, "1e-2": 0.3}"#;
    let whole = asked(&[Span::HOUR], Method::Predict);
    assert_eq!(check_round_trip(text, &whole).to_json().unwrap(), text.replace("0.50", "0.5"));
}

#[test]
fn lists_by_step_come_back_in_the_order_that_was_asked_and_without_what_was_not() {
    let (half, whole) = (Span::minutes(30), Span::HOUR);
    let wide = NORM.replace("0.01", "0.02");
    let text = format!(r#"{{"60": ["ignored"], "3600": [{wide}], "1800": [{wide}, {NORM}]}}"#);
    let expected = asked(&[half, whole], Method::PredictAll);
    let packed = check_round_trip(&text, &expected);
    assert_eq!(packed.to_json().unwrap(), format!(r#"{{"3600": [{wide}], "1800": [{wide}, {NORM}]}}"#));
    let steps: Vec<Span> = packed.unpack(&expected).unwrap().steps.iter().map(|step| step.step).collect();
    assert_eq!(steps, [half, whole]);
}

#[test]
fn an_answer_to_another_question_is_told_from_a_damaged_one() {
    let packed = packed(&twelve(|_| NORM.to_owned()), &hour_by_five_minutes());
    let error = packed.unpack(&asked(&[Span::minutes(10)], Method::Predict)).unwrap_err();
    assert_eq!(error.to_string(), "the stored answer is to another question: it has 12 densities of step 5m");
}

#[test]
fn what_is_refused_is_refused_in_the_same_words_when_packing() {
    for text in ["[", "[]", "null", &twelve(|k| NORM.replace("0.01", if k == 7 { "-1" } else { "1" }))] {
        let refusal = parse_answer(text.as_bytes(), &hour_by_five_minutes(), &Limits::default()).unwrap_err();
        let packing = pack_answer(text.as_bytes(), &hour_by_five_minutes(), &Limits::default()).unwrap_err();
        assert_eq!(packing, refusal);
    }
    let huge = vec![b' '; MAX_TEXT_BYTES + 1];
    let refusal = pack_answer(&huge, &hour_by_five_minutes(), &Limits::NONE).unwrap_err();
    assert_eq!(refusal.to_string(), "the answer has 33554433 bytes, the limit is 33554432");
}

#[test]
fn an_unknown_version_and_nothing_at_all_say_so() {
    let mut bytes = packed(&twelve(|_| NORM.to_owned()), &hour_by_five_minutes()).into_bytes();
    bytes[0] = 7;
    let error = PackedAnswer::new(&bytes).to_json().unwrap_err();
    assert_eq!(
        error.to_string(),
        "the stored answer has form 7, which this program does not know: use a newer one"
    );
    let error = PackedAnswer::new([]).unpack(&hour_by_five_minutes()).unwrap_err();
    assert_eq!(error.to_string(), "the stored answer is damaged: it is empty");
}

/// As databases hold answers from before there was a packed form.
fn as_text(text: &[u8]) -> PackedAnswer {
    PackedAnswer::new(zstd::bulk::compress(text, 1).unwrap())
}

#[test]
fn an_answer_that_was_stored_as_a_compressed_text_is_read_as_ever() {
    let expected = hour_by_five_minutes();
    let text = twelve(|k| NORM.replace("0.01", &format!("  0.{}0", k + 1)));
    let stored = as_text(text.as_bytes());
    assert_eq!(bits(&stored.unpack(&expected).unwrap()), bits(&parsed(&text, &expected)));
    assert_eq!(stored.to_json().unwrap(), text, "as it was sent");

    let mut cut = stored.into_bytes();
    cut.pop();
    let error = |stored: &PackedAnswer| {
        let errors = (stored.to_json().unwrap_err(), stored.unpack(&expected).unwrap_err());
        assert_eq!(errors.0, errors.1);
        errors.0.to_string()
    };
    assert!(error(&PackedAnswer::new(cut)).starts_with("the stored answer is damaged: "));
    assert_eq!(error(&as_text(b"[\xff]")), "the stored answer is damaged: its text is not UTF-8");
    let refused = as_text(b"[]").unpack(&expected).unwrap_err().to_string();
    assert_eq!(refused, "the stored answer is not accepted: expected 12 densities, got 0");
}

/// Under any checksum: whoever can write to the database can make one.
fn read(contents: &[u8]) -> Result<Contents, UnreadableAnswer> {
    self::contents(&frame::close(contents))
}

#[test]
fn what_claims_to_be_huge_is_refused_before_it_is() {
    let claims: [(&[u8], &str); 7] = [
        (&[9], "its form is unknown"),
        (&[0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f], "it ends too early"),
        (&[0, 1, 60, 2, 0, 1, 0, 1], "the first element is like the one before"),
        (&[0, 1, 60, 1, 0, 1, 3, 1], "a template is missing"),
        (&[0, 1, 60, 1, 1, 1, b'0', 1, 1, 2], "its lists are not as long as its elements are many"),
        // 2^28 rows of two numbers that take no bit.
        (
            &[
                0, 1, 60, 0x80, 0x80, 0x80, 0x80, 1, 1, 2, 0, 0, 1, 1, 0x80, 0x80, 0x80, 0x80, 1, 1, 0, 0, 0,
                1, 0, 0, 0,
            ],
            "it claims to hold too many numbers",
        ),
        (&[0, 1, 60, 1, 1, 1, 0, 1, 1, 1, 0, 65, 0], "no integer has 65 bits"),
    ];
    for (contents, reason) in claims {
        assert_eq!(read(contents).unwrap_err(), UnreadableAnswer::Damaged(reason.into()));
    }
    let bomb = frame::close(&vec![0; 8 * MAX_TEXT_BYTES + 1]);
    let error = PackedAnswer::new(bomb).to_json().unwrap_err().to_string();
    assert!(error.starts_with("the stored answer is damaged: it claims to hold 268435457 bytes"), "{error}");
}

#[test]
fn a_number_that_makes_no_density_any_more_is_named() {
    let text = twelve(|k| NORM.replace("0.01", &format!("0.0{}", k + 1)));
    let mut contents = contents(packed(&text, &hour_by_five_minutes()).as_bytes()).unwrap();
    contents.templates[0].numbers[7] = -1.0;
    let damaged = PackedAnswer::new(frame::close(&contents.write()));
    assert_eq!(
        damaged.unpack(&hour_by_five_minutes()).unwrap_err().to_string(),
        "the stored answer is damaged: [3].params.scale: must be > 0, got -1.0"
    );
}

/// A day of mixtures of two normals that differ in every step, as Python writes them.
fn day_of_mixtures(written: impl Fn(f64) -> String) -> String {
    let mut state = 7u64;
    let mut unit = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 11) as f64 / (1u64 << 53) as f64
    };
    let mut component = |scale: f64| {
        let (loc, scale, weight) = (scale * (unit() - 0.5), scale * (0.5 + unit()), 0.1 + 0.8 * unit());
        let norm = NORM.replace("0.01", &written(scale)).replace("0.0,", &format!("{},", written(loc)));
        format!(r#"{{"density": {norm}, "weight": {}}}"#, written(weight))
    };
    let mut mixture = || {
        let components = [component(0.001), component(0.003)].join(", ");
        format!(r#"{{"type": "mixture", "components": [{components}]}}"#)
    };
    format!("[{}]", (0..288).map(|_| mixture()).collect::<Vec<_>>().join(", "))
}

#[test]
fn a_day_of_mixtures_takes_a_fraction_of_its_text() {
    let day = Expected { horizon: Span::days(1), ..hour_by_five_minutes() };
    let share = |text: &str| text.len() / check_round_trip(text, &day).as_bytes().len();
    let six_digits = day_of_mixtures(|x| format!("{:?}", format!("{x:.5e}").parse::<f64>().unwrap()));
    assert!(share(&six_digits) >= 16, "six digits: 1/{}", share(&six_digits));
    let full = day_of_mixtures(|x| format!("{x:?}"));
    assert!(share(&full) >= 7, "full doubles: 1/{}", share(&full));
    let repeated = format!("[{}]", vec![NORM; 288].join(", "));
    assert!(share(&repeated) >= 100, "repeated: 1/{}", share(&repeated));
}

/// Doubles as models send them: short decimals, all bits, and both in one column.
fn numbers() -> impl Strategy<Value = Vec<f64>> {
    let finite = any::<f64>().prop_filter("a number", |x| !x.is_nan());
    let short = (-999_999i32..999_999, 0..24).prop_map(|(m, k)| f64::from(m) / 10f64.powi(k));
    let smooth = (0.001..1.0, 1e-9..1e-3)
        .prop_map(|(start, step): (f64, f64)| (0..40).map(|k| start + step * f64::from(k)).collect());
    prop_oneof![
        prop::collection::vec(finite.clone(), 0..40),
        prop::collection::vec(short.clone(), 0..40),
        prop::collection::vec((-999i32..999).prop_map(|m| f64::from(m) / 1e3), 0..40),
        prop::collection::vec(prop_oneof![9 => short, 1 => finite, 1 => Just(-0.0)], 0..40),
        smooth,
    ]
}

fn text() -> impl Strategy<Value = String> {
    crate::answer::differential::elements().prop_map(|elements| format!("[{}]", elements.join(", ")))
}

proptest! {
    #[test]
    fn a_column_comes_back_to_the_bit(values in numbers(), stride in 1usize..4) {
        let mut bytes = Vec::new();
        column::write(&values, &mut bytes);
        bytes.resize(bytes.len() + PADDING, 0);
        let mut input = Input::padded(&bytes);
        let mut back = vec![0.5; (values.len() * stride).saturating_sub(stride - 1)];
        column::ColumnReader::default().read(&mut input, &mut back, stride).unwrap();
        prop_assert!(input.is_at_end());
        for (k, value) in back.iter().enumerate() {
            let expected = if k % stride == 0 { values[k / stride] } else { 0.5 };
            prop_assert_eq!(value.to_bits(), expected.to_bits(), "{}", k);
        }
    }

    #[test]
    fn a_column_of_integers_comes_back_and_is_no_longer_than_its_bits(
        values in prop_oneof![
            prop::collection::vec(any::<u64>(), 0..30),
            prop::collection::vec(1_000_000u64..1_000_100, 0..30),
            (any::<u64>(), any::<u64>()).prop_map(|(a, d)| (0..30).map(|k| a.wrapping_add(d.wrapping_mul(k))).collect()),
        ],
    ) {
        let mut bytes = Vec::new();
        integers::Coding::of(&values).write(&values, &mut bytes);
        prop_assert!(bytes.len() <= 21 + 8 * values.len());
        bytes.resize(bytes.len() + PADDING, 0);
        let mut input = Input::padded(&bytes);
        let mut back = vec![7];
        integers::read(&mut input, values.len(), &mut back).unwrap();
        prop_assert!(input.is_at_end());
        prop_assert_eq!(&back[..values.len()], &values[..]);
    }

    #[test]
    fn any_answer_comes_back_to_the_bit(text in text()) {
        check_round_trip(&text, &hour_by_five_minutes());
    }

    #[test]
    fn a_damaged_answer_is_an_error_whatever_was_damaged(
        text in text(), damage in prop::collection::vec((any::<prop::sample::Index>(), 1u8..), 1..4),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let intact = packed(&text, &hour_by_five_minutes()).into_bytes();
        let mut bytes = intact.clone();
        for (at, by) in damage {
            let at = at.index(bytes.len());
            bytes[at] ^= by;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        prop_assume!(bytes != intact);
        // The frame has a bit without a meaning.
        let is_harmless = frame::open(&bytes).is_ok_and(|opened| opened == frame::open(&intact).unwrap());
        let damaged = PackedAnswer::new(&bytes);
        prop_assert_eq!(damaged.unpack(&hour_by_five_minutes()).is_ok(), is_harmless);
        prop_assert_eq!(damaged.to_json().is_ok(), is_harmless);
        prop_assert!(!is_harmless || bytes[5] ^ intact[5] == 0x10);
    }

    /// Behind a checksum that holds: what is read is an answer or an error.
    #[test]
    fn damaged_contents_never_break_the_reader(
        text in text(), damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let packed = packed(&text, &hour_by_five_minutes());
        let mut contents = contents(packed.as_bytes()).unwrap().write();
        for (at, by) in damage {
            // Mostly the heads, where counts and kinds are.
            let at = at.index(contents.len().min(40).max(contents.len() / 2));
            contents[at] = by;
        }
        if let Some(cut) = cut {
            contents.truncate(cut.index(contents.len()));
        }
        let damaged = PackedAnswer::new(frame::close(&contents));
        if let Ok(answer) = damaged.unpack(&hour_by_five_minutes()) {
            prop_assert_eq!(answer.steps[0].densities.len(), 12);
        }
        if let Err(error) = damaged.to_json() {
            prop_assert!(matches!(error, UnreadableAnswer::Damaged(_)));
        }
    }

    #[test]
    fn arbitrary_bytes_never_break_the_reader(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(read(&bytes).is_err());
        prop_assert!(PackedAnswer::new(&bytes).to_json().is_err());
    }
}
