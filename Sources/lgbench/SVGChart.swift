// The rows of a run as a bar chart in SVG, complete in itself: no script, no font, no style sheet.
// Uses Report's rows and the peers' times; nothing else uses it but the entry point.

import Foundation
import LazyGrad

/// One panel per workload, one group of bars per row: LazyGrad's and the peers'.
struct SVGChart {
  private struct Bar {
    /// Nil for LazyGrad.
    let peer: Peer?
    let value: Double
  }

  private struct Group {
    let label: String
    let bars: [Bar]
  }

  private struct Panel {
    let title: String
    let note: String
    var groups: [Group] = []
  }

  private static let width = 900.0
  private static let margin = 24.0
  private static let barHeight = 14.0
  private static let gap = 8.0
  private static let widestLabel = 365.0
  /// Of a digit at 12 pixels in the fonts that a viewer falls back to; text can only be estimated.
  private static let characterWidth = 6.9
  /// The colour of LazyGrad, then of the peers in their order (Okabe and Ito's palette, which colour
  /// blindness leaves distinct).
  private static let colors = [
    "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#999999", "#B8A800",
  ]

  let text: String

  init(rows: [ResultRow], peers: PeerResults?, machine: Machine) {
    var panels: [Panel] = []
    var shown: [Peer] = []
    var compared: Set<[String]> = []
    let labels = Self.labels(rows)
    for (row, label) in zip(rows, labels) {
      guard let (value, unit) = Self.measure(row), value > 0 else { continue }
      // Rates are drawn as rates: the peers' follow from their times.
      let isRate = row.gflops != nil && row.workload == "W3" || row.gbps != nil
      var bars = [Bar(peer: nil, value: value)]
      // Peers stand with the first of the modes of a case, not with every one.
      if compared.insert([row.workload, row.name, row.pass ?? ""]).inserted {
        for (peer, time) in peers?.times(for: row) ?? [] {
          if !shown.contains(peer) { shown.append(peer) }
          let ratio = time / row.microseconds!
          bars.append(Bar(peer: peer, value: isRate ? value / ratio : value * ratio))
        }
      }
      let title = Self.titles[row.workload] ?? row.workload
      let panel = Panel(
        title: "\(title): \(unit)", note: isRate ? "more is better" : "less is better")
      if panels.last?.title != panel.title { panels.append(panel) }
      panels[panels.count - 1].groups.append(Group(label: label, bars: bars))
    }
    text = Self.render(panels, peers: shown, machine: machine)
  }

  /// The names of the rows, with pass and mode where a workload's names alone are not distinct.
  private static func labels(_ rows: [ResultRow]) -> [String] {
    let parts = rows.map { [$0.name, $0.pass ?? "", $0.mode ?? ""] }
    return rows.indices.map { index in
      let own = rows.indices.filter { rows[$0].workload == rows[index].workload }
      let needed = (1...3).first { count in
        Set(own.map { parts[$0].prefix(count).joined(separator: " ") }).count == own.count
      }
      return parts[index].prefix(needed ?? 3).joined(separator: " ")
    }
  }

  private static let titles = [
    "W1": "Recurrent network", "W2": "Elementwise chain", "W3": "Matrix products",
    "W4": "Multilayer perceptron", "W5": "Overhead", "W6": "Reductions and copies",
    "train": "Character-level language model",
  ]

  /// The number that a workload is about.
  private static func measure(_ row: ResultRow) -> (Double, String)? {
    if row.workload == "W3", let gflops = row.gflops { return (gflops, "GFLOP/s") }
    if row.workload == "W6", let gbps = row.gbps { return (gbps, "GB/s") }
    if let perOperation = row.perOperation { return (perOperation.median, "ns per operation") }
    return row.microseconds.map { ($0, "µs per pass") }
  }

  // MARK: - Drawing

  private static func render(_ panels: [Panel], peers: [Peer], machine: Machine) -> String {
    var body = ""
    var y = margin + 14
    body += label(margin, y, "LazyGrad \(lgbenchVersion)", size: 18, weight: "600")
    y += 20
    body += label(
      margin, y,
      "\(machine.cpu), cores: \(machine.cores), \(machine.system); instruction set:"
        + " \(Machine.tier), threads: \(LazyGradEngine.threads); medians", color: "#555555")
    y += 12
    if !peers.isEmpty { body += legend(peers, &y) }
    if panels.isEmpty {
      y += 24
      body += label(margin, y, "no results", color: "#555555")
    }
    for panel in panels { body += draw(panel, peers: peers, &y) }
    let height = Int(y + margin)
    return """
      <svg xmlns="http://www.w3.org/2000/svg" width="\(Int(width))" height="\(height)" \
      viewBox="0 0 \(Int(width)) \(height)" font-family="Helvetica, Arial, 'DejaVu Sans', sans-serif">
      <rect width="100%" height="100%" fill="#ffffff"/>
      \(body)</svg>

      """
  }

  private static func legend(_ peers: [Peer], _ y: inout Double) -> String {
    var body = ""
    var x = margin
    y += 18
    for (index, title) in (["LazyGrad"] + peers.map(\.title)).enumerated() {
      let needed = 18 + Double(title.count) * characterWidth + 20
      if x > margin, x + needed > width - margin {
        x = margin
        y += 18
      }
      body += rectangle(x, y - 10, 12, 12, color(index))
      body += label(x + 18, y, title)
      x += needed
    }
    return body
  }

  private static func draw(_ panel: Panel, peers: [Peer], _ y: inout Double) -> String {
    let values = panel.groups.flatMap { $0.bars.map(\.value) }
    let axis = Axis(values)
    let longest = panel.groups.map(\.label.count).max()!
    let left = margin + min(widestLabel, Double(longest) * characterWidth) + 10
    // Room for the number at the end of the longest bar.
    let right = width - margin - 60
    func x(_ value: Double) -> Double { left + axis.position(value) * (right - left) }

    y += 36
    let scale = axis.isLogarithmic ? ", logarithmic scale" : ""
    var body = label(margin, y, panel.title, size: 15, weight: "600")
    body += label(
      width - margin, y, panel.note + scale, color: "#555555", anchor: "end")
    y += 14
    let top = y
    var bars = ""
    for group in panel.groups {
      y += gap
      let height = Double(group.bars.count) * barHeight
      bars += label(left - 10, y + height / 2 + 4, shorten(group.label), anchor: "end")
      for bar in group.bars {
        let index = bar.peer.map { peers.firstIndex(of: $0)! + 1 } ?? 0
        bars += rectangle(left, y + 1, max(1, x(bar.value) - left), barHeight - 2, color(index))
        bars += label(x(bar.value) + 5, y + 11, Format.number(bar.value), size: 11)
        y += barHeight
      }
    }
    y += gap
    for tick in axis.ticks {
      body += """
        <line x1="\(place(x(tick)))" y1="\(place(top))" x2="\(place(x(tick)))" y2="\(place(y))" \
        stroke="#dddddd"/>

        """
      body += label(
        x(tick), y + 14, axis.title(tick), size: 11, color: "#555555", anchor: "middle")
    }
    y += 18
    return body + bars
  }

  private static func color(_ index: Int) -> String { colors[index % colors.count] }

  private static func shorten(_ text: String) -> String {
    let most = Int(widestLabel / characterWidth)
    return text.count <= most ? text : text.prefix(most - 1) + "…"
  }

  private static func rectangle(
    _ x: Double, _ y: Double, _ width: Double, _ height: Double, _ fill: String
  ) -> String {
    """
    <rect x="\(place(x))" y="\(place(y))" width="\(place(width))" height="\(place(height))" \
    fill="\(fill)"/>

    """
  }

  private static func label(
    _ x: Double, _ y: Double, _ text: String, size: Int = 12, weight: String = "400",
    color: String = "#222222", anchor: String = "start"
  ) -> String {
    """
    <text x="\(place(x))" y="\(place(y))" font-size="\(size)" font-weight="\(weight)" \
    fill="\(color)" text-anchor="\(anchor)">\(escaped(text))</text>

    """
  }

  private static func place(_ value: Double) -> String { Format.fixed(value, 1) }

  private static func escaped(_ text: String) -> String {
    text.replacingOccurrences(of: "&", with: "&amp;").replacingOccurrences(of: "<", with: "&lt;")
      .replacingOccurrences(of: ">", with: "&gt;")
  }
}

/// Where values stand between 0 and 1: from zero on, or by magnitude where they span so much that
/// the small ones could not be seen.
private struct Axis {
  let isLogarithmic: Bool
  let ticks: [Double]
  private let low: Double
  private let high: Double

  init(_ values: [Double]) {
    let (least, most) = (values.min()!, values.max()!)
    isLogarithmic = most / least > 30
    if isLogarithmic {
      // Whole decades around the values; the least of them must still have a bar.
      let bottom = (log10(least) - 0.2).rounded(.down)
      let top = max(log10(most).rounded(.up), bottom + 1)
      (low, high) = (bottom, top)
      ticks = stride(from: bottom, through: top, by: 1).map { pow(10, $0) }
    } else {
      // A step of 1, 2 or 5 times a power of ten that makes four to ten of them.
      let magnitude = pow(10, log10(most).rounded(.down))
      let step = [0.1, 0.2, 0.5].map { $0 * magnitude }.first { most / $0 <= 10 } ?? magnitude
      let count = (most / step).rounded(.up)
      (low, high) = (0, count * step)
      ticks = (0...Int(count)).map { Double($0) * step }
    }
  }

  func position(_ value: Double) -> Double {
    isLogarithmic ? (log10(value) - low) / (high - low) : value / high
  }

  func title(_ tick: Double) -> String {
    String(format: tick >= 1e7 || tick > 0 && tick < 1e-3 ? "%.0e" : "%.6g", tick)
  }
}
