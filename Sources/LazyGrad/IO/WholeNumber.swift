// Whole numbers in the headers of files, which are texts of strangers. Uses nothing.

/// Reads the digits of a whole number of at least 0, without leading zeros.
///
/// - Returns: The number and where it ends; nil where it has more than 63 bits, and with the end at its
///   begin where there is none.
func wholeNumber<Text: RandomAccessCollection>(
  in text: Text, at start: Int
) -> (value: Int?, end: Int) where Text.Element == UInt8, Text.Index == Int {
  var value: Int? = 0
  var end = start
  while end < text.endIndex, case let digit = Int(text[end]) - 0x30, (0...9) ~= digit {
    let (tens, overflow) = (value ?? 0).multipliedReportingOverflow(by: 10)
    let (sum, another) = tens.addingReportingOverflow(digit)
    value = value == nil || overflow || another ? nil : sum
    end += 1
  }
  let hasLeadingZero = end > start + 1 && text[start] == 0x30
  return end == start || hasLeadingZero ? (nil, start) : (value, end)
}
