//! Numbers for people.

/// A number with its thousands apart: `1,234`.
pub fn thousands(number: i64) -> String {
    let digits = number.unsigned_abs().to_string();
    let mut text = if number < 0 { "-".to_owned() } else { String::new() };
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_thousands() {
        let shown = ["0", "999", "1,000", "-1,234,567", "-9,223,372,036,854,775,808"];
        assert_eq!([0, 999, 1_000, -1_234_567, i64::MIN].map(thousands), shown);
    }
}
