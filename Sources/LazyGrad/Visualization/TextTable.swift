// Tables as text. Uses the standard library only.

/// Cells in aligned columns: texts to the left, numbers to the right.
struct TextTable {
  /// A column's title, how it is aligned and how wide its cells may be before they are folded.
  struct Column {
    let title: String
    var isNumber = false
    var width = Int.max
  }

  let columns: [Column]
  private(set) var rows: [[String]] = []

  init(_ columns: [Column]) { self.columns = columns }

  mutating func add(_ cells: String...) { rows.append(cells) }

  /// The lines, with a line under the titles, and one above the last row where that is a sum.
  func text(hasSum: Bool = false) -> String {
    let folded = ([columns.map(\.title)] + rows).map { row in
      zip(row, columns).map { Self.fold($0, $1.width) }
    }
    let widths = columns.indices.map { c in
      folded.map { row in row[c].map(\.count).max() ?? 0 }.max() ?? 0
    }
    let rule = widths.map { String(repeating: "-", count: $0) }.joined(separator: "  ") + "\n"
    var text = ""
    for (r, row) in folded.enumerated() {
      if r == 1 || hasSum && r == folded.count - 1 && r > 1 { text += rule }
      for line in 0..<(row.map(\.count).max() ?? 0) {
        var cells = ""
        for (c, cell) in row.enumerated() {
          let part = line < cell.count ? cell[line] : ""
          let padding = String(repeating: " ", count: widths[c] - part.count)
          cells += (c == 0 ? "" : "  ") + (columns[c].isNumber ? padding + part : part + padding)
        }
        while cells.last == " " { cells.removeLast() }
        text += cells + "\n"
      }
    }
    return text
  }

  /// Breaks a text at blanks.
  private static func fold(_ text: String, _ width: Int) -> [String] {
    var lines: [String] = []
    for word in text.split(separator: " ", omittingEmptySubsequences: false) {
      if let last = lines.last, last.count + 1 + word.count <= width {
        lines[lines.count - 1] = last + " " + word
      } else {
        lines.append(String(word))
      }
    }
    return lines
  }

  /// A number with its digits in groups of three.
  static func grouped(_ number: Double) -> String {
    guard number < 1e18 else { return "\(number)" }
    let digits = String(Int(number))
    var text = ""
    for (i, digit) in digits.enumerated() {
      if i > 0, (digits.count - i) % 3 == 0 { text += "," }
      text.append(digit)
    }
    return text
  }
}
