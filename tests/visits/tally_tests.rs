//! Tests: counts, times and the result line.

use std::time::Duration;

use crate::tally::*;
use crate::visit::{End, Result};

fn json_of(times: impl IntoIterator<Item = u64>) -> String {
    let mut all = Times::default();
    times.into_iter().for_each(|time| all.add(Duration::from_micros(time)));
    let mut json = String::new();
    all.write("x", &mut json);
    json
}

#[test]
fn quantiles_are_of_the_nearest_rank() {
    assert_eq!(json_of([]), "");
    assert_eq!(
        json_of([1500]),
        r#","x":{"min":1.500,"p50":1.500,"p90":1.500,"p99":1.500,"max":1.500}"#
    );
    assert_eq!(
        json_of((1..=1000).rev()),
        r#","x":{"min":0.001,"p50":0.500,"p90":0.900,"p99":0.990,"max":1.000}"#
    );
    assert_eq!(
        json_of((1..=11).map(|n| n * 1000)),
        r#","x":{"min":1.000,"p50":6.000,"p90":10.000,"p99":11.000,"max":11.000}"#
    );
}

#[test]
fn the_result_line() {
    let mut tally = Tally::default();
    (tally.begun, tally.late) = (6, 1);
    for result in [
        Result::Finished(521),
        Result::Finished(220),
        Result::Finished(220),
        Result::Lost(End::Reset),
        Result::Lost(End::Timeout),
    ] {
        tally.add(result);
    }
    tally.banner.add(Duration::from_millis(2));
    assert_eq!(
        tally.json("new", Duration::from_millis(1500), Duration::from_micros(250)),
        "{\"kind\":\"new\",\"begun\":6,\"finished\":3,\"seconds\":1.500000,\
         \"cpu_seconds\":0.000250,\"replies\":{\"220\":2,\"521\":1},\
         \"lost\":{\"refused\":0,\"reset\":1,\"closed\":0,\"timeout\":1},\"late\":1,\
         \"banner_ms\":{\"min\":2.000,\"p50\":2.000,\"p90\":2.000,\"p99\":2.000,\
         \"max\":2.000}}"
    );
}
