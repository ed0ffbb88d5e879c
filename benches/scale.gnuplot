set terminal svg size 960,420 font "sans-serif,12" background "white"
set output "target/fleet/scale.svg"
set datafile separator "\t"
set key above
set grid
set multiplot layout 1,2
set xlabel "peers"
set ylabel "seconds"
set y2label "MB"
set y2tics
set ytics nomirror
set yrange [0:*]
set y2range [0:*]
plot "target/fleet/peers.tsv" using "peers":"deploy" with linespoints title "deploy", \
    "" using "peers":"resync" with linespoints title "resync, nothing to do", \
    "" using "peers":"deploy_mb" axes x1y2 with linespoints dashtype 2 title "most memory of deploy (right)"
set xlabel "lineages, on 3 peers"
plot "target/fleet/lineages.tsv" using "lineages":"resync" with linespoints title "resync, nothing to do", \
    "" using "lineages":"first_resync" with linespoints title "resync that brings the new ones", \
    "" using "lineages":"resync_mb" axes x1y2 with linespoints dashtype 2 title "most memory (right)"
