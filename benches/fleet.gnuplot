set terminal svg size 960,460 font "sans-serif,12" background "white"
set output "target/fleet/fleet.svg"
set datafile separator "\t"
set logscale y
set yrange [0.01:*]
set ylabel "seconds"
set xlabel "peers, round trip"
set grid y
set key outside top center horizontal
set style data histograms
set style histogram clustered gap 1
set style fill solid
setting(peers, ms) = sprintf("%d, %d ms", peers, ms)
plot "target/fleet/fleet.tsv" using (column("floor")):xtic(setting(column("peers"), column("ms"))) title "ssh alone", \
    "" using (column("resync")) title "certcast resync", "" using (column("deploy")) title "certcast deploy", \
    "" using (column("scp")) title "scp, ssh in parallel", "" using (column("ansible")) title "ansible", \
    "" using (column("script")) title "script"
